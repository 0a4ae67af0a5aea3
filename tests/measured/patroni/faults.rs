//! What happens to the cluster between rotations. Each fault causes new SVIDs, and undoes itself.

use dev_agent::Flaw;
use test_support::eventually;

use crate::patroni::cluster::{Cluster, LIMIT, entries, pause};
use crate::patroni::watch::Watch;

type Fault = (&'static str, fn(&mut Cluster, &Watch));

pub(crate) const FAULTS: [Fault; 6] = [
    ("switchover", switchover),
    ("the agent offers keys of others", bad_sets),
    ("the leader is killed", leader_is_killed),
    ("published files are replaced by others", files_are_replaced),
    ("the authority changes", authority_changes),
    ("three renewals at once", at_once),
];

fn switchover(cluster: &mut Cluster, watch: &Watch) {
    cluster.assert_all_follow();
    let leader = cluster.primary();
    let candidate = (leader + 1) % cluster.nodes.len();
    let names = [leader, candidate].map(|at| cluster.nodes[at].patroni.name().to_owned());
    watch.outage(true);
    cluster.agent.rotate().unwrap();
    // 4.0 calls the leader primary, and takes both names.
    let arguments =
        ["switchover", "test", "--leader", &names[0], "--candidate", &names[1], "--force"];
    let other = ["switchover", "test", "--primary", &names[0], "--candidate", &names[1], "--force"];
    let patroni = &cluster.nodes[leader].patroni;
    if let Err(said) = patroni.ctl(&arguments) {
        patroni.ctl(&other).unwrap_or_else(|again| panic!("{said}\n{again}"));
    }
    eventually(LIMIT, "the other leads", || pause(cluster.nodes[candidate].is_writable()));
    cluster.assert_all_follow();
    watch.outage(false);
}

fn bad_sets(cluster: &mut Cluster, _: &Watch) {
    for flaw in [Flaw::KeyOfAnother, Flaw::ForeignAuthority, Flaw::EmptyKey] {
        let bad = entries().into_iter().map(|entry| entry.with(flaw.clone()));
        cluster.agent.set_entries(bad).unwrap();
    }
    cluster.agent.set_entries(entries()).unwrap();
}

fn leader_is_killed(cluster: &mut Cluster, watch: &Watch) {
    cluster.assert_all_follow();
    let leader = cluster.primary();
    watch.outage(true);
    cluster.nodes[leader].crash();
    cluster.agent.rotate().unwrap();
    let next = cluster.primary();
    assert_ne!(next, leader);
    cluster.assert_all_serve_the_newest();
    cluster.agent.rotate().unwrap();
    cluster.nodes[leader].is_up = true;
    cluster.nodes[leader].patroni.start();
    cluster.assert_all_follow();
    // The one that is back answers, too.
    cluster.assert_all_serve_the_newest();
    watch.outage(false);
}

/// Another user of the directory replaces the links by files that do not fit together.
fn files_are_replaced(cluster: &mut Cluster, _: &Watch) {
    let other = cluster.agent.issue(&entries()[0]).unwrap();
    for node in &cluster.nodes {
        let key = node.files.join("svid_key.pem");
        let _ = std::fs::remove_file(&key);
        node.files.write("svid_key.pem", other.key_pem(), 0o600);
    }
    cluster.agent.rotate().unwrap();
}

fn authority_changes(cluster: &mut Cluster, watch: &Watch) {
    // Without its store for too long, Patroni restarts the primary as a replica.
    watch.outage(true);
    // (1) Both authorities into each bundle, and new leaves, with which the REST APIs read them; (2) leaves of the new
    // authority; (3) the old one out.
    cluster.agent.prepare_authority().unwrap();
    cluster.agent.rotate().unwrap();
    cluster.assert_all_serve_the_newest();
    cluster.etcd.restart();
    cluster.agent.activate_authority().unwrap();
    cluster.agent.rotate().unwrap();
    cluster.assert_all_serve_the_newest();
    cluster.agent.revoke_authority().unwrap();
    cluster.agent.rotate().unwrap();
    cluster.assert_all_serve_the_newest();
    cluster.etcd.restart();
    cluster.assert_all_follow();
    watch.outage(false);
}

fn at_once(cluster: &mut Cluster, _: &Watch) {
    for _ in 0..3 {
        cluster.agent.rotate().unwrap();
    }
}
