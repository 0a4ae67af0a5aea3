//! Two replicas that take turns.

use std::collections::BTreeSet;

use serde_json::Value;
use test_support::Signal;

use crate::{FIELDS, World, wait};

fn replicated() -> World {
    let world = World::new();
    world.configure(&format!(
        "[lease]\nduration = '3s'\n[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"
    ));
    world
}

#[test]
fn v13_one_replica_writes_and_another_takes_over_when_it_is_killed_or_ends() {
    let world = replicated();
    // Each replica has a key of its own: the agent issues another SVID to it.
    let first = world.run();
    first.event("secrets-handed-over");
    let second = world.run_with(&[]);
    second.event("secrets-standby");
    assert_eq!(second.count("secrets-handed-over"), 0);
    // The parent starts no daemon again, because it is killed, too.
    first.0.signal(Signal::KILL);
    second.event("lease-acquired");
    second.event("secrets-handed-over");
    let third = world.run();
    third.event("secrets-standby");
    second.0.signal(Signal::TERM);
    third.event("lease-acquired");
    third.event("secrets-handed-over");
    second.event("lease-released");
    // Never in turns: the leaf of an earlier writer does not come back.
    let leaves: Vec<Value> = world
        .server
        .written()
        .into_iter()
        .map(|(_, secret)| secret["data"]["tls.crt"].clone())
        .collect();
    let mut seen = BTreeSet::new();
    let mut last = String::new();
    for leaf in leaves {
        let leaf = leaf.to_string();
        if leaf != last {
            assert!(seen.insert(leaf.clone()), "a leaf came back");
            last = leaf;
        }
    }
}

#[test]
fn v13_a_replica_that_cannot_renew_its_lease_stops_writing() {
    let world = replicated();
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    world.server.fault(test_support::Fault::Status(500));
    pgsvid.event("lease-lost");
    world.agent.rotate().unwrap();
    let before = world.server.written().len();
    world.server.fault(test_support::Fault::None);
    wait("it writes again", || world.server.written().len() > before);
    assert!(pgsvid.count("lease-acquired") >= 2);
}
