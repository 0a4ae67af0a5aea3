//! O01, O02: the examples as they are.

use std::collections::BTreeSet;

use test_support::eventually;

use super::namespace::Namespace;
use super::with_spire;
use crate::LIMIT;
use crate::kubectl::apply;
use crate::manifests::example;

#[test]
fn o01_the_examples_run_unchanged_and_every_rotation_is_verified() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("unchanged", |_| ());
    apply(&example("dbclient", namespace.name())).unwrap();
    namespace.rolled_out("deployment/dbclient");
    // SVIDs live a minute: each line has the serial number of the client's.
    let serials = || -> BTreeSet<String> {
        let log = namespace.kubectl(&["logs", "deployment/dbclient", "--container", "app"]);
        let lines = log.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            (fields.len() == 4 && fields[0] == "dbclient" && fields[3] == "2").then(|| fields[2])
        });
        lines.map(str::to_owned).collect()
    };
    eventually(LIMIT, "the client logs in with three certificates", || serials().len() >= 3);
    let rotations = namespace.events("rotated");
    assert!(rotations.len() >= 3, "{rotations:?}");
    assert!(rotations.iter().all(|one| one["verdict"] == "current"), "{rotations:?}");
    let status =
        namespace.kubectl(&["exec", "dbserver-0", "-c", "pgsvid", "--", "/pgsvid", "status"]);
    assert!(status.starts_with("current"), "{status}");
    let pod = namespace.database();
    assert_eq!([pod.restarts("pgsvid"), pod.restarts("postgres")], [0, 0]);
}

#[test]
fn o02_a_deleted_pod_comes_back_with_a_key_of_its_own() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("deleted", |_| ());
    let client = namespace.connecting_client(&[]);
    let key = || {
        let read = ["exec", "dbserver-0", "-c", "postgres", "--", "cat", "/svids/svid_key.pem"];
        namespace.kubectl(&read)
    };
    let (before, key_before) = (namespace.database(), key());
    namespace.kubectl(&["delete", "pod", "dbserver-0", "--wait=false"]);
    eventually(LIMIT, "another pod is ready", || {
        let Ok(_) = namespace.attempt(&["get", "pod", "dbserver-0"]) else { return false };
        let pod = namespace.database();
        pod.uid() != before.uid() && pod.is_ready()
    });
    assert!(key() != key_before, "the key outlived its pod");
    let mark = client.mark();
    eventually(LIMIT, "clients reach it", || client.since(mark).succeeded > 20);
}
