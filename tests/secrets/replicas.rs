//! Two replicas that take turns.

use std::collections::BTreeSet;

use test_support::{Fault, Signal};

use crate::{FIELDS, World, agent, wait};

fn tables() -> String {
    format!("[lease]\nduration = '3s'\n[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}")
}

#[test]
fn v13_one_replica_writes_and_another_takes_over_when_it_is_killed_or_ends() {
    let world = World::new();
    // Each replica has an SVID of its own.
    let agents = ["a", "b", "c"].map(|name| agent(&world.files, name));
    let files = ["a.toml", "b.toml", "c.toml"];
    for (file, agent) in files.iter().zip(&agents) {
        world.configure_as(file, agent, &tables());
    }
    let first = world.run_as(files[0]);
    first.event("secrets-handed-over");
    let second = world.run_as(files[1]);
    second.event("secrets-standby");
    // Its own sets change nothing.
    agents[1].rotate().unwrap();
    agents[0].rotate().unwrap();
    wait("the first writes its next set", || first.count("secrets-handed-over") == 2);
    assert_eq!(second.count("secrets-handed-over"), 0);
    // With its daemon, which sees that its parent is gone.
    first.0.signal(Signal::KILL);
    second.event("lease-acquired");
    second.event("secrets-handed-over");
    let third = world.run_as(files[2]);
    third.event("secrets-standby");
    second.0.signal(Signal::TERM);
    third.event("lease-acquired");
    third.event("secrets-handed-over");
    second.event("lease-released");
    // Never in turns: the leaf of an earlier writer does not come back.
    let written = world.server.written();
    let mut leaves: Vec<String> =
        written.iter().map(|(_, secret)| secret["data"]["tls.crt"].to_string()).collect();
    leaves.dedup();
    let different: BTreeSet<&String> = leaves.iter().collect();
    assert_eq!((leaves.len(), different.len()), (4, 4));
}

#[test]
fn v13_a_replica_that_cannot_renew_its_lease_stops_writing() {
    let world = World::new();
    world.configure(&tables());
    let pgsvid = world.run();
    pgsvid.event("secrets-handed-over");
    world.server.fault(Fault::Status(500));
    pgsvid.event("lease-lost");
    world.agent.rotate().unwrap();
    let before = world.server.written().len();
    world.server.fault(Fault::None);
    wait("it writes again", || world.server.written().len() > before);
    assert!(pgsvid.count("lease-acquired") >= 2);
}
