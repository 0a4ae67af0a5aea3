//! P15, P24: somebody else reloads PostgreSQL, even during a swap between two authorities.

#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dev_agent::{Authority, Entry, Svid};
use pgsvid_proto::X509svidResponse;
use test_support::{Cluster, LIMIT, Pgsvid, Setup, Signal, Strace, eventually, subject};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const ROTATIONS: u64 = 200;

#[test]
fn p15_somebody_elses_reload_at_each_step_of_a_swap_ends_with_the_new_set() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let authorities = [0, 1].map(|_| Authority::new("example.org", false).unwrap());
    let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    // pgsvid is held up after each: before anything is written, before the swap, and between it and our own reload. The first
    // rename is that of the complete generation.
    let steps = [("mkdirat", 1), ("symlinkat", 1), ("renameat", 2)];
    for ((call, when), generation) in steps.into_iter().zip(2..) {
        let strace =
            Strace::attach(pgsvid.daemon_pid(), &format!("{call}:signal=STOP:when={when}"));
        let svid = authorities[usize::from(generation % 2 == 0)].issue(&entry).unwrap();
        let svids = vec![svid.to_message()];
        setup.agent.push(&X509svidResponse { svids, ..Default::default() });
        eventually(LIMIT, "pgsvid is held up", || strace.has_seen("--- stopped by SIGSTOP ---"));
        let published = fs::read_to_string(setup.files.join("svid.pem")).unwrap();
        assert_eq!(published == svid.chain_pem(), call == "renameat", "{call}");
        setup.cluster.reload();
        strace.detach();
        pgsvid.daemon().signal(Signal::CONT);
        let event = pgsvid.current(generation);
        assert!(event["publish_ms"].is_number() && event["reload_ms"].is_number(), "{event}");
        assert_serves(&setup.cluster, &svid);
    }
    assert_quiet(&pgsvid);
}

#[test]
fn p24_in_a_storm_of_reloads_each_rotation_ends_with_leaf_and_authority_of_its_generation() {
    let setup = Setup::new(PGSVID);
    setup.configure("files.publish_every = \"0s\"");
    let pgsvid = setup.start();
    let authorities = [0, 1].map(|_| Authority::new("example.org", false).unwrap());
    let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let mark = setup.cluster.log_mark();

    let done = AtomicBool::new(false);
    let signals = thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&setup, &done));
        let until = Done(&done);
        for generation in 2..2 + ROTATIONS {
            let authority = &authorities[usize::from(generation % 2 == 0)];
            let svid = authority.issue(&entry).unwrap();
            let svids = vec![svid.to_message()];
            setup.agent.push(&X509svidResponse { svids, ..Default::default() });
            let event = pgsvid.current(generation);
            assert_eq!(event["serial"], short(&svid));
            // At the first attempt, right after the publication.
            assert!(event["publish_ms"].is_number() && event["reload_ms"].is_number(), "{event}");
            assert_serves(&setup.cluster, &svid);
        }
        drop(until);
        storm.join().unwrap()
    });
    assert_quiet(&pgsvid);
    let log = setup.cluster.log_since(mark);
    let loads = log.matches("received SIGHUP").count();
    let refused = log.matches("SSL configuration was not reloaded").count();
    println!("{signals} signals, {loads} loads, {refused} of them refused");
    assert!(loads > 2 * usize::try_from(ROTATIONS).unwrap(), "it was a storm");
}

/// Says that it is done when it goes, also by a panic: threads that wait for it would wait for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Signals the postmaster every few milliseconds until told to stop. Every other time that it sees a swap it leaves off
/// for a while: what PostgreSQL has loaded by then, in part perhaps from before the swap, stays unless somebody else puts
/// it right.
fn storm(setup: &Setup, done: &AtomicBool) -> u64 {
    let (mut signals, mut swaps, mut seen) = (0, 0, None);
    while !done.load(Ordering::SeqCst) {
        let current = fs::read_link(setup.files.join("..data")).ok();
        let swapped = current != seen;
        seen = current;
        swaps += u64::from(swapped);
        if swapped && swaps % 2 == 0 {
            thread::park_timeout(Duration::from_millis(60));
        }
        setup.cluster.sighup();
        signals += 1;
        thread::park_timeout(Duration::from_millis(2 + signals % 4));
    }
    signals
}

/// Nothing was worth a warning.
#[track_caller]
fn assert_quiet(pgsvid: &Pgsvid) {
    let lines = pgsvid.lines();
    // Each set here has another authority, which comes with its first leaf.
    let expected = ["\"level\":\"INFO\"", "\"event\":\"authority-order-broken\""];
    let troubles = lines.iter().filter(|line| !expected.iter().any(|it| line.contains(it)));
    assert_eq!(troubles.collect::<Vec<_>>(), [""; 0]);
}

/// What a new connection is shown is this SVID, and its authority alone.
#[track_caller]
fn assert_serves(cluster: &Cluster, svid: &Svid) {
    let served = cluster.served();
    assert!(served.leaf == svid.leaf(), "another leaf is served");
    assert_eq!(served.authorities, Some(BTreeSet::from([subject(&svid.bundle[0])])));
}

fn short(svid: &Svid) -> String {
    svid.serial[..3].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
