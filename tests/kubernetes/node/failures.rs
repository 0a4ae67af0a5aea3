//! O05 to O08: pgsvid fails in a pod whose PostgreSQL works.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use test_support::eventually;

use super::namespace::{Namespace, Pod};
use super::processes::{Pgsvid, signal};
use super::with_spire;
use crate::LIMIT;
use crate::kubectl::kubectl;
use crate::manifests::{container, only};

#[test]
fn o05_the_daemon_is_killed_ten_times_in_two_minutes_and_the_pod_stays_in_its_service() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("daemon", |_| ());
    let client = namespace.connecting_client(&[]);
    let (before, mark) = (namespace.database(), client.mark());
    for _ in 0..10 {
        signal(Pgsvid::of(&before).daemon, Signal::KILL);
        sleep(Duration::from_secs(12));
    }
    let connections = client.since(mark);
    println!("while the daemon was killed ten times: {connections}");
    assert!(connections.failures.is_empty(), "{connections}");
    assert!(connections.succeeded > 100, "{connections}");
    let after = namespace.database();
    // It has been ready without interruption.
    assert!(after.is_ready());
    assert_eq!(after.since(), before.since());
    assert_eq!([after.restarts("pgsvid"), after.restarts("postgres")], [0, 0]);
    // A daemon reports how the one before it ended.
    assert_eq!(namespace.events("daemon-restarted").len(), 10);
}

/// Only that ends the container: the pod is unready until the kubelet has started another one, with or without a readiness probe.
#[test]
fn o06_the_first_process_is_killed_and_postgresql_runs_and_serves_on() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("first", |_| ());
    let address = namespace.database().address().to_owned();
    // Past the Service, which has no endpoint meanwhile.
    let client = namespace.connecting_client(&[("PGHOSTADDR", &address)]);
    let mark = client.mark();
    for restarts in 1..=2 {
        let before = namespace.database();
        signal(Pgsvid::of(&before).first, Signal::KILL);
        let killed = Instant::now();
        eventually(LIMIT, "the kubelet has started another container", || {
            let pod = namespace.database();
            pod.restarts("pgsvid") == restarts && pod.is_ready()
        });
        println!(
            "kill {restarts} of the first process: in the Service again after {:.1?}",
            killed.elapsed()
        );
    }
    let connections = client.since(mark);
    println!("meanwhile, past the Service: {connections}");
    assert!(connections.failures.is_empty(), "{connections}");
    assert_eq!(namespace.database().restarts("postgres"), 0);
}

#[test]
fn o07_a_daemon_that_hangs_is_replaced_by_the_kubelet_and_postgresql_is_not() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("hangs", |_| ());
    let before = namespace.database();
    signal(Pgsvid::of(&before).daemon, Signal::STOP);
    let stopped = Instant::now();
    eventually(
        LIMIT,
        "the liveness probe has failed three times, and the pod is ready again",
        || {
            let pod = namespace.database();
            pod.restarts("pgsvid") == 1 && pod.is_ready()
        },
    );
    println!("a stopped daemon: in the Service again after {:.1?}", stopped.elapsed());
    assert_eq!(namespace.database().restarts("postgres"), 0);
}

/// The budget of the start-up probe is five minutes; here it is ten seconds.
#[test]
fn o08_without_an_identity_pgsvid_is_started_again_and_postgresql_waits() {
    let _spire = with_spire();
    let namespace = Namespace::with_started_database("unregistered", |objects| {
        for identity in objects.iter_mut().filter(|one| one["kind"] == "ClusterSPIFFEID") {
            identity["spec"]["podSelector"]["matchLabels"]["registered"] = json!("yes");
        }
        let set = only(objects, "StatefulSet");
        let pgsvid = container(&mut set["spec"]["template"], "pgsvid");
        pgsvid["startupProbe"]["failureThreshold"] = json!(5);
    });
    let pod = || -> Option<Pod> {
        namespace.attempt(&["get", "pod", "dbserver-0"]).ok().map(|_| namespace.database())
    };
    eventually(LIMIT, "the kubelet starts pgsvid again", || {
        pod().is_some_and(|pod| {
            pod.0["status"]["initContainerStatuses"].is_array() && pod.restarts("pgsvid") >= 1
        })
    });
    assert!(!namespace.database().container("postgres")["state"]["waiting"].is_null());
    kubectl(&["--namespace", namespace.name(), "label", "pod", "dbserver-0", "registered=yes"]);
    namespace.rolled_out("statefulset/dbserver");
    assert_eq!(namespace.database().restarts("postgres"), 0);
}
