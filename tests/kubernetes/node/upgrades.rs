//! O11: another image, and another configuration.

use std::time::Instant;

use serde_json::{Value, json};
use test_support::eventually;

use super::namespace::Namespace;
use super::with_spire;
use crate::LIMIT;
use crate::kubectl::apply;
use crate::manifests::{example, only};

/// scripts/lib/cluster-images.sh gives this build two tags.
fn next_image() -> String {
    format!("ghcr.io/pgsvid/pgsvid:{}-next", env!("CARGO_PKG_VERSION"))
}

fn image(namespace: &Namespace) -> String {
    let pod = namespace.database();
    let containers = pod.0["spec"]["initContainers"].as_array().unwrap();
    let pgsvid = containers.iter().find(|one| one["name"] == "pgsvid").unwrap();
    pgsvid["image"].as_str().unwrap().to_owned()
}

#[test]
fn o11_another_image_replaces_the_pod_and_in_place_only_the_sidecar_starts_again() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("image", |objects| {
        // The template is for the next pod, and the pod stays.
        only(objects, "StatefulSet")["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    });
    let address = namespace.database().address().to_owned();
    let client = namespace.connecting_client(&[("PGHOSTADDR", &address)]);
    let (before, mark) = (namespace.database(), client.mark());
    namespace.kubectl(&[
        "set",
        "image",
        "statefulset/dbserver",
        &format!("pgsvid={}", next_image()),
    ]);
    namespace.kubectl(&["set", "image", "pod/dbserver-0", &format!("pgsvid={}", next_image())]);
    let changed = Instant::now();
    eventually(LIMIT, "pgsvid has started again", || {
        let pod = namespace.database();
        pod.restarts("pgsvid") == 1 && pod.is_ready()
    });
    println!("pgsvid's image changed in place: ready again after {:.1?}", changed.elapsed());
    let after = namespace.database();
    assert_eq!(after.uid(), before.uid());
    assert_eq!(after.restarts("postgres"), 0);
    assert_eq!(image(&namespace), next_image());
    let connections = client.since(mark);
    println!("meanwhile, past the Service: {connections}");
    assert!(connections.failures.is_empty(), "{connections}");

    namespace.kubectl(&[
        "patch",
        "statefulset",
        "dbserver",
        "--patch",
        r#"{"spec":{"updateStrategy":{"type":"RollingUpdate"}}}"#,
    ]);
    namespace.rolled_out("statefulset/dbserver");
    let replaced = namespace.database();
    assert!(replaced.uid() != before.uid(), "the StatefulSet has not replaced the pod");
}

#[test]
fn o11_another_configuration_replaces_the_pod() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("configuration", |_| ());
    let before = namespace.database();
    let mut objects = example("dbserver", namespace.name());
    // As kustomize does, whose name for it ends in a sum of its content.
    let map = objects
        .iter_mut()
        .find(|one| one["kind"] == "ConfigMap" && one["data"].get("pgsvid.toml").is_some());
    let map = map.unwrap();
    let text = map["data"]["pgsvid.toml"].as_str().unwrap();
    map["data"]["pgsvid.toml"] =
        json!(text.replace("format = \"json\"", "format = \"json\"\nlevel = \"debug\""));
    map["metadata"]["name"] = json!("pgsvid-changed");
    let set = only(&mut objects, "StatefulSet");
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap();
    let volume: &mut Value = volumes.iter_mut().find(|one| one["name"] == "pgsvid").unwrap();
    volume["configMap"]["name"] = json!("pgsvid-changed");
    apply(&objects).unwrap();
    namespace.rolled_out("statefulset/dbserver");
    eventually(LIMIT, "another pod", || namespace.database().uid() != before.uid());
    let log = namespace.kubectl(&["logs", "dbserver-0", "--container", "pgsvid"]);
    assert!(log.contains("\"DEBUG\""), "{log}");
}
