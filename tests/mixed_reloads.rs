//! P24: somebody else reloads PostgreSQL all the time, also in the midst of a swap between two authorities.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dev_agent::{Authority, Entry, Svid};
use pgsvid::material::Certificate;
use pgsvid::verify::{self, Answer, Served};
use pgsvid_proto::X509svidResponse;
use test_support::{Cluster, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const ROTATIONS: u64 = 200;

#[test]
fn p24_in_a_storm_of_reloads_each_rotation_ends_with_leaf_and_authority_of_its_generation() {
    let setup = Setup::new(PGSVID);
    // Its lines tell what the storm has made PostgreSQL load in between.
    let pgsvid = setup.start();
    let authorities = [0, 1].map(|_| Authority::new("example.org", false).unwrap());
    let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let mark = setup.cluster.log_mark();

    let done = AtomicBool::new(false);
    let signals = thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&setup.cluster, &done));
        for generation in 2..2 + ROTATIONS {
            let authority = &authorities[usize::from(generation % 2 == 0)];
            let svid = authority.issue(&entry).unwrap();
            let svids = vec![svid.to_message()];
            setup.agent.push(&X509svidResponse { svids, ..Default::default() });
            let event = pgsvid.current(generation);
            assert_eq!(event["serial"], short(&svid));
            assert_serves(&setup.cluster, &svid);
        }
        done.store(true, Ordering::Relaxed);
        storm.join().unwrap()
    });
    assert!(pgsvid.events("rotated").iter().all(|event| event["verdict"] == "current"));
    let log = setup.cluster.log_since(mark);
    let loads = log.matches("received SIGHUP").count();
    let refused = log.matches("SSL configuration was not reloaded").count();
    println!("{signals} signals, {loads} loads, {refused} of them refused");
    assert!(loads > 2 * usize::try_from(ROTATIONS).unwrap(), "it was a storm");
}

/// Signals the postmaster until told to stop.
fn storm(cluster: &Cluster, done: &AtomicBool) -> u64 {
    let mut signals = 0;
    while !done.load(Ordering::Relaxed) {
        cluster.sighup();
        signals += 1;
        thread::park_timeout(Duration::from_millis(2 + signals % 4));
    }
    signals
}

/// What a new connection is shown is this SVID, and its authority alone.
#[track_caller]
fn assert_serves(cluster: &Cluster, svid: &Svid) {
    let served = served(cluster);
    assert!(served.leaf.der() == svid.leaf(), "another leaf is served");
    let names: BTreeSet<Vec<u8>> = served.authorities.unwrap().into_iter().collect();
    let root = Certificate::parse(&svid.bundle[0]).unwrap();
    assert_eq!(names, BTreeSet::from([root.subject().to_vec()]));
}

fn served(cluster: &Cluster) -> Served {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let facts = runtime.block_on(verify::probe(&["127.0.0.1".to_owned()], cluster.port()));
    match facts.answer {
        Answer::Served(served) => *served,
        other => panic!("PostgreSQL does not shake hands: {other:?}"),
    }
}

fn short(svid: &Svid) -> String {
    svid.serial[..3].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
