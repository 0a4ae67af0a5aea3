//! Two replicas that take turns.

use std::collections::BTreeSet;
use std::time::Duration;

use dev_agent::{DevAgent, Entry};
use test_support::{Fault, Signal};

use crate::{FIELDS, SPIFFE_ID, World, agent, wait};

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
    // The Secrets themselves could be written.
    world.server.fault(Fault::Leases(500));
    pgsvid.event("lease-lost");
    let before = world.server.written().len();
    world.agent.rotate().unwrap();
    pgsvid.code("kubernetes-failing");
    assert_eq!(world.server.written().len(), before);
    world.server.fault(Fault::None);
    wait("it writes again", || world.server.written().len() > before);
    assert!(pgsvid.count("lease-acquired") >= 2);
}

#[test]
fn v13_a_leader_whose_certificate_is_not_renewed_leaves_the_lease_to_another() {
    let world = World::new();
    let short = DevAgent::builder(world.files.join("short"))
        .entry(Entry::new(SPIFFE_ID).dns("localhost"))
        .ttl(Duration::from_secs(20))
        .automatic(false)
        .start()
        .unwrap();
    world.configure_as("short.toml", &short, &tables());
    world.configure(&tables());
    let first = world.run_as("short.toml");
    first.event("secrets-handed-over");
    let second = world.run();
    second.event("secrets-standby");
    first.event("lease-released");
    second.event("lease-acquired");
    second.event("secrets-handed-over");
    // Also after it has expired it does not compete.
    first.code("verdict-expired");
    let written = world.server.written().len();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((first.count("lease-acquired"), world.server.written().len()), (1, written));
}

#[test]
fn v13_a_standby_is_not_content_with_secrets_that_nobody_writes() {
    let world = World::new();
    world.configure(&tables());
    // Somebody holds the Lease who writes other Secrets.
    world.server.put_lease("own", "pgsvid", "stranger", 300);
    let pgsvid = world.run();
    let event = pgsvid.code("secret-not-kept");
    assert!(event["cause"].as_str().unwrap().contains("stranger"), "{event}");
    assert_eq!(world.command(&["status"]).status.code(), Some(1));
    assert_eq!(pgsvid.count("secrets-standby"), 0);
    // Others write what this replica would accept.
    let other = World::new();
    other.configure(&format!("[[secrets]]\nname = 'server'\ncreate = true\n{FIELDS}"));
    let writer = other.run();
    writer.event("secrets-handed-over");
    let data = other.server.secret("own", "server").unwrap()["data"].clone();
    world.server.put("own", "server", &data);
    pgsvid.event("secrets-standby");
    assert_eq!(world.command(&["status"]).status.code(), Some(0));
    world.server.delete("own", "server");
    wait("it is degraded", || world.command(&["status"]).stdout.starts_with(b"degraded"));
    assert_eq!(world.server.secret("own", "server"), None);
}

#[test]
fn v13_a_silent_api_server_makes_no_standby() {
    let world = World::new();
    world.configure(&tables());
    world.server.fault(Fault::Silent);
    let pgsvid = world.run();
    pgsvid.code("kubernetes-unreachable");
    assert_eq!(pgsvid.count("secrets-standby"), 0);
    assert_eq!(world.command(&["status"]).status.code(), Some(1));
}

#[test]
fn v13_a_lease_that_is_deleted_again_and_again_makes_nobody_write_in_turns() {
    let world = World::new();
    let agents = ["a", "b"].map(|name| agent(&world.files, name));
    let files = ["a.toml", "b.toml"];
    for (file, agent) in files.iter().zip(&agents) {
        world.configure_as(file, agent, &tables());
    }
    let first = world.run_as(files[0]);
    first.event("secrets-handed-over");
    let second = world.run_as(files[1]);
    second.event("secrets-standby");
    // A label is no reason to stop.
    world.server.label_lease("own", "pgsvid");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(first.count("lease-lost"), 0);
    for _ in 0..8 {
        world.server.delete_lease("own", "pgsvid");
        std::thread::sleep(Duration::from_millis(700));
    }
    assert!(first.count("lease-lost") > 0);
    let acquired = || first.count("lease-acquired") + second.count("lease-acquired");
    wait("one of them writes again", || acquired() > 1);
    let written = world.server.written();
    let mut leaves: Vec<String> =
        written.iter().map(|(_, secret)| secret["data"]["tls.crt"].to_string()).collect();
    leaves.dedup();
    assert!(leaves.len() <= 2, "{}", leaves.len());
}
