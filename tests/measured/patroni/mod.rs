//! R16: a cluster of three nodes, with certificates everywhere, through rotations and faults.
//!
//! `scripts/test-patroni` runs the long form; the form that runs with the other tests is short.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

mod cluster;
mod faults;
mod watch;

use std::collections::BTreeMap;

use cluster::Cluster;
use faults::FAULTS;
use watch::Watch;

/// How many rotations, where that is not the usual.
const ROTATIONS: &str = "PATRONI_ROTATIONS";
/// A fault comes once in so many rotations, each kind in its turn.
const FAULT_EACH: usize = 3;

#[test]
fn r16_three_nodes_go_through_rotations_and_faults_and_none_is_shut_out() {
    let _alone = crate::BUSY.lock();
    let rotations = std::env::var(ROTATIONS).map_or(16, |text| text.parse().unwrap());
    let mut cluster = Cluster::start();
    println!("patroni: {} nodes run; {rotations} rotations", cluster.nodes.len());
    let watch = Watch::start(&cluster);
    let mut struck: BTreeMap<&str, u32> = BTreeMap::new();
    for rotation in 1..=rotations {
        if rotation % FAULT_EACH == 0 {
            let (name, strike) = FAULTS[(rotation / FAULT_EACH - 1) % FAULTS.len()];
            strike(&mut cluster, &watch);
            *struck.entry(name).or_default() += 1;
        } else {
            cluster.agent.rotate().unwrap();
        }
        cluster.assert_all_serve_the_newest();
        if rotation % 10 == 0 {
            println!("patroni: {rotation} rotations, all served by all");
        }
    }
    cluster.assert_all_follow();
    let seen = watch.stop();
    println!(
        "patroni: {rotations} rotations, all served by PostgreSQL and REST API of each node, among these faults:"
    );
    for (name, times) in &struck {
        println!("patroni:   {times:4} x {name}");
    }
    println!("patroni: {seen}");
    for node in &cluster.nodes {
        let requests = node.requests();
        println!("patroni: node {}: pgsvid has asked for {requests} reloads", node.patroni.name());
        let log = node.patroni.whole_log();
        assert_eq!(log.matches("Failed to reload").count(), 0, "{log}");
    }
    seen.assert_well();
}
