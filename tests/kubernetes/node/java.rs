//! O15: a pool of connections of a Java application in a pod.

use std::collections::BTreeMap;

use crate::eventually;
use crate::kubectl::apply;
use crate::manifests::example;
use crate::namespace::Namespace;

/// SVIDs live a minute, so three more come within the two minutes in which the pool opens each connection four times.
#[test]
fn o15_a_java_pool_takes_each_new_certificate_and_no_connection_fails() {
    let namespace = Namespace::with_database("java", |_| ());
    apply(&example("javaclient", namespace.name())).unwrap();
    namespace.rolled_out("deployment/javaclient");
    let logged = || namespace.kubectl(&["logs", "deployment/javaclient", "--container", "app"]);
    eventually("PostgreSQL has seen four certificates", || {
        let counts = counts(&logged());
        counts["certificates"] >= 4 && counts["opened"] >= 40
    });
    let log = logged();
    let counts = counts(&log);
    println!("a pool of HikariCP: {counts:?}");
    // pgsvid has looked the database's Service up by itself.
    let own = namespace.kubectl(&["logs", "deployment/javaclient", "--container", "pgsvid"]);
    assert!(own.contains("\"event\":\"client-admitted\""), "{own}");
    assert!(!own.contains("\"code\":\"login-name-unresolved\""), "{own}");
    assert_eq!((counts["refused"], counts["failed"]), (0, 0), "{log}");
    let pods = namespace.get(&["pods", "--selector", "app.kubernetes.io/name=javaclient"]);
    for kind in ["containerStatuses", "initContainerStatuses"] {
        for container in pods["items"][0]["status"][kind].as_array().unwrap() {
            assert_eq!(container["restartCount"], 0, "{container}");
        }
    }
}

/// The newest figures that the program has printed; zeroes before.
fn counts(log: &str) -> BTreeMap<String, u32> {
    let names = ["opened", "refused", "queries", "failed", "certificates"];
    let line = log.lines().rfind(|line| line.starts_with("opened=")).unwrap_or_default();
    let mut counts: BTreeMap<String, u32> = names.map(|name| (name.to_owned(), 0)).into();
    let printed = line.split(' ').filter_map(|word| word.split_once('='));
    counts.extend(printed.map(|(name, count)| (name.to_owned(), count.parse().unwrap())));
    counts
}
