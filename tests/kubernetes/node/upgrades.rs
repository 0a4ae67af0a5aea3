//! O11: another image, and another configuration.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use serde_json::{Value, json};

use crate::eventually;
use crate::kubectl::apply;
use crate::manifests::{example, only};
use crate::namespace::{Namespace, Pod};
use crate::processes::{Pgsvid, signal};

/// scripts/lib/cluster-images.sh gives this build two tags.
fn next_image() -> String {
    format!("ghcr.io/pgsvid/pgsvid:{}-next", env!("CARGO_PKG_VERSION"))
}

fn image_of(pod: &Pod) -> &str {
    let containers = pod.0["spec"]["initContainers"].as_array().unwrap();
    let pgsvid = containers.iter().find(|one| one["name"] == "pgsvid").unwrap();
    pgsvid["image"].as_str().unwrap()
}

#[test]
fn o11_another_image_replaces_the_pod_and_in_place_only_the_sidecar_starts_again() {
    let namespace = Namespace::with_database("image", |_| ());
    let address = namespace.database().address().to_owned();
    let client = namespace.connecting_client(&[("PGHOSTADDR", &address)]);
    let (before, mark) = (namespace.database(), client.mark());
    // As docs/kubernetes.md has it.
    let strategy = |one: &str| {
        let patch =
            format!(r#"{{"spec":{{"updateStrategy":{{"type":"{one}","rollingUpdate":null}}}}}}"#);
        namespace.kubectl(&["patch", "statefulset", "dbserver", "--patch", &patch]);
    };
    strategy("OnDelete");
    let image = format!("pgsvid={}", next_image());
    namespace.kubectl(&["set", "image", "statefulset/dbserver", &image]);
    namespace.kubectl(&["set", "image", "pod/dbserver-0", &image]);
    let changed = Instant::now();
    eventually("pgsvid has started again", || {
        let pod = namespace.database();
        pod.restarts("pgsvid") == 1 && pod.is_ready()
    });
    println!("pgsvid's image changed in place: ready again after {:.1?}", changed.elapsed());
    let after = namespace.database();
    assert_eq!(after.uid(), before.uid());
    assert_eq!(after.restarts("postgres"), 0);
    assert_eq!(image_of(&after), next_image());
    let connections = client.since(mark);
    println!("meanwhile, past the Service: {connections}");
    assert!(connections.failures.is_empty(), "{connections}");

    strategy("RollingUpdate");
    namespace.rolled_out("statefulset/dbserver");
    let replaced = namespace.database();
    assert!(replaced.uid() != before.uid(), "the StatefulSet has not replaced the pod");
}

/// The `ConfigMap` with pgsvid.toml.
fn configuration(objects: &mut [Value]) -> &mut Value {
    let map = objects
        .iter_mut()
        .find(|one| one["kind"] == "ConfigMap" && one["data"].get("pgsvid.toml").is_some());
    map.unwrap()
}

/// Lets pgsvid log lines of text instead of JSON.
fn log_as_text(map: &mut Value) {
    let text = map["data"]["pgsvid.toml"].as_str().unwrap();
    assert!(text.contains(r#"format = "json""#), "{text}");
    map["data"]["pgsvid.toml"] = json!(text.replace(r#"format = "json""#, r#"format = "text""#));
}

/// Whether the log of the pod has a line that is no JSON.
fn logs_as_text(namespace: &Namespace) -> bool {
    let log = namespace.kubectl(&["logs", "dbserver-0", "--container", "pgsvid"]);
    log.lines().any(|line| !line.starts_with('{'))
}

#[test]
fn o11_another_configuration_replaces_the_pod() {
    let namespace = Namespace::with_database("configuration", |_| ());
    let before = namespace.database();
    let mut objects = example("dbserver", namespace.name());
    // As kustomize does, whose name for it ends in a sum of its content.
    let map = configuration(&mut objects);
    log_as_text(map);
    map["metadata"]["name"] = json!("pgsvid-changed");
    let set = only(&mut objects, "StatefulSet");
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap();
    let volume: &mut Value = volumes.iter_mut().find(|one| one["name"] == "pgsvid").unwrap();
    volume["configMap"]["name"] = json!("pgsvid-changed");
    apply(&objects).unwrap();
    namespace.rolled_out("statefulset/dbserver");
    eventually("another pod", || namespace.database().uid() != before.uid());
    assert!(logs_as_text(&namespace));
}

/// A `ConfigMap` that is changed in place, as one of a fixed name is: the new text reaches the container, and pgsvid reads it when
/// it starts again.
#[test]
fn o11_another_configuration_under_the_same_name_restarts_nothing() {
    let namespace = Namespace::with_database("fixed", |_| ());
    let before = namespace.database();
    let pgsvid = Pgsvid::of(&before);
    let mut objects = example("dbserver", namespace.name());
    let map = configuration(&mut objects);
    log_as_text(map);
    apply(std::slice::from_ref(map)).unwrap();
    let mounted = format!("/proc/{}/root/etc/pgsvid/pgsvid.toml", pgsvid.daemon.as_raw_nonzero());
    eventually("the container has the new text", || {
        fs::read_to_string(&mounted).unwrap().contains(r#""text""#)
    });
    let rotations = namespace.events("rotated").len();
    eventually("two rotations more", || namespace.events("rotated").len() >= rotations + 2);
    let after = namespace.database();
    assert_eq!((after.uid(), after.since()), (before.uid(), before.since()));
    assert_eq!([after.restarts("pgsvid"), after.restarts("postgres")], [0, 0]);
    assert_eq!(Pgsvid::of(&after).daemon, pgsvid.daemon);
    assert!(!logs_as_text(&namespace));

    // A daemon that is started again within its container reads it, too.
    signal(pgsvid.daemon, Signal::KILL);
    eventually("the new configuration is in force", || logs_as_text(&namespace));
    assert_eq!(namespace.database().restarts("pgsvid"), 0);
}
