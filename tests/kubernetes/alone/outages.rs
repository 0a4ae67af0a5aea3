//! O03, O04, O10: SPIRE or the CSI driver is away, for every pod. SVIDs live one minute.

use std::thread::sleep;
use std::time::Duration;

use crate::cluster::Component;
use crate::eventually;
use crate::kubectl::apply;
use crate::manifests::{example, kustomization, only};
use crate::namespace::Namespace;

#[test]
fn o03_the_agent_is_started_again_and_no_connection_fails() {
    let namespace = Namespace::with_database("agent", |_| ());
    let client = namespace.connecting_client(&[]);
    let (before, mark, rotations) =
        (namespace.database(), client.mark(), namespace.events("rotated").len());
    let agent = Component::named("spire-agent").kill();
    eventually("pgsvid notices", || !namespace.events("agent-disconnected").is_empty());
    agent.start();
    eventually("another rotation", || namespace.events("rotated").len() > rotations);
    let connections = client.since(mark);
    println!("while the agent was killed and started again: {connections}");
    assert!(connections.failures.is_empty(), "{connections}");
    assert_eq!(namespace.database().since(), before.since());
}

#[test]
fn o04_without_the_csi_driver_pods_run_on_and_new_ones_wait_for_it() {
    let namespace = Namespace::with_database("driver", |_| ());
    let rotations = namespace.events("rotated").len();
    let driver = Component::named("csi-driver").kill();
    eventually("a rotation", || namespace.events("rotated").len() > rotations);
    apply(&example("dbclient", namespace.name())).unwrap();
    eventually("the new pod waits for its volume", || {
        let events =
            namespace.kubectl(&["get", "events", "--output", "jsonpath={.items[*].reason}"]);
        events.contains("FailedMount")
    });
    driver.start();
    namespace.rolled_out("deployment/dbclient");
    let pod = namespace.database();
    assert!(pod.is_ready());
    assert_eq!([pod.restarts("pgsvid"), pod.restarts("postgres")], [0, 0]);
}

/// What gates readiness: `pgsvid status`. It fails when the certificate that PostgreSQL serves has expired, and not before.
#[test]
fn o10_without_spire_the_pod_is_ready_until_the_certificate_expires() {
    let gated = Namespace::with_database("gated", |_| ());
    // The same with the component that has no such gate.
    let free = Namespace::with_database("ungated", |objects| {
        let plain = only(objects, "StatefulSet");
        let mut changed = kustomization(
            "any",
            "resources: [set.yaml]\ncomponents: [COMPONENTS/sidecar-ungated]\n",
            &[("set.yaml", &plain.to_string())],
        );
        plain["spec"] = only(&mut changed, "StatefulSet")["spec"].take();
    });
    let since = gated.database().since();
    let rotations = gated.events("rotated").len();
    eventually("a rotation", || gated.events("rotated").len() > rotations);
    let agent = Component::named("spire-agent").kill();
    // The renewal has been due for 15 s, and the certificate is valid for as long.
    sleep(Duration::from_secs(45));
    assert!(gated.database().is_ready() && gated.database().since() == since, "too early");
    eventually("unready, once the certificate has expired", || !gated.database().is_ready());
    assert!(free.database().is_ready());
    agent.start();
    eventually("ready again", || gated.database().is_ready());
    for namespace in [&gated, &free] {
        let pod = namespace.database();
        assert_eq!([pod.restarts("pgsvid"), pod.restarts("postgres")], [0, 0]);
    }
}
