//! Chart and kustomize components add the same to a pod.

use serde_json::{Value, json};

use crate::chart::helm::Example;
use crate::kubernetes::configuration::assert_valid;
use crate::kubernetes::manifests::{Manifests, example, root};
use crate::kubernetes::schemas::added;

/// What the workloads have of their own: init containers, volumes and variables.
const OWN: [&str; 8] =
    ["migrate", "own", "data", "configuration", "init", "tmp", "PGDATA", "POSTGRES_PASSWORD"];

/// What is pgsvid's in a pod template: its init containers, its volumes, and what the container `reader` gets.
#[track_caller]
fn part(pod: &Value, reader: &str) -> Value {
    let list = |value: &Value| -> Vec<Value> {
        let all = value.as_array().into_iter().flatten();
        all.filter(|item| !OWN.contains(&item["name"].as_str().unwrap())).cloned().collect()
    };
    let spec = &pod["spec"];
    let containers = spec["containers"].as_array().unwrap();
    let reader = containers.iter().find(|container| container["name"] == reader).unwrap();
    let mut part = json!({
        "initContainers": list(&spec["initContainers"]),
        "volumes": list(&spec["volumes"]),
        "volumeMounts": list(&reader["volumeMounts"]),
        "env": list(&reader["env"]),
    });
    // kustomize and Helm have their own ways to name it.
    name_alike(&mut part);
    part
}

fn name_alike(value: &mut Value) {
    for key in ["configMap", "configMapKeyRef"] {
        if let Some(map) = value.get_mut(key) {
            map["name"] = json!("configuration");
        }
    }
    match value {
        Value::Array(list) => list.iter_mut().for_each(name_alike),
        Value::Object(map) => map.values_mut().for_each(name_alike),
        _ => {}
    }
}

/// The order of volumes and mounts means nothing.
fn sorted(mut part: Value) -> Value {
    for key in ["volumes", "volumeMounts"] {
        let list = part[key].as_array_mut().unwrap();
        list.sort_by_key(|item| item["name"].as_str().unwrap().to_owned());
    }
    part
}

#[track_caller]
fn assert_same(chart: &Manifests, component: &Manifests, reader: &str, init_containers: usize) {
    let (ours, theirs) = (sorted(part(chart.pod(), reader)), sorted(part(component.pod(), reader)));
    assert_eq!(ours, theirs);
    assert_eq!(ours["initContainers"].as_array().unwrap().len(), init_containers);
    assert!(ours["volumes"].as_array().unwrap().len() >= 3);
}

#[test]
fn a_database_gets_the_sidecar_of_the_component_and_its_configuration() {
    let chart = Example::new("database").objects(&[]);
    assert_same(&chart, &added("sidecar", "StatefulSet", "postgres"), "postgres", 1);
    let component = root().join("k8s/components/sidecar/pgsvid.toml");
    let theirs: Value = toml::from_str(&std::fs::read_to_string(component).unwrap()).unwrap();
    let ours: Value = toml::from_str(chart.configurations()[0]).unwrap();
    assert_eq!(ours, theirs);
    assert_valid(chart.configurations()[0]);
}

/// Without the readiness probe pgsvid takes no database out of its Service; nothing else differs.
#[test]
fn the_sidecar_has_a_readiness_probe_unless_the_values_turn_it_off() {
    let example = Example::new("database");
    let sidecar =
        |arguments: &[&str]| example.objects(arguments).pod()["spec"]["initContainers"][0].clone();
    let (mut with, without) =
        (sidecar(&[]), sidecar(&["--set", "pgsvid.readinessProbe.enabled=false"]));
    let probe = with.as_object_mut().unwrap().remove("readinessProbe").unwrap();
    assert_eq!(probe["exec"]["command"], json!(["/pgsvid", "status"]));
    assert_eq!(with, without);
}

#[test]
fn an_application_gets_the_client_of_the_component() {
    let chart = Example::new("application").objects(&[]);
    assert_same(&chart, &added("client", "Deployment", "app"), "app", 2);
    let theirs: Value = toml::from_str(example("dbclient").configurations()[0]).unwrap();
    let ours: Value = toml::from_str(chart.configurations()[0]).unwrap();
    for table in ["workload_api", "health", "log", "client"] {
        assert_eq!(ours[table], theirs[table], "{table}");
    }
    assert_valid(chart.configurations()[0]);
    let name = chart.only("ConfigMap")["data"]["PGSERVICE"].as_str().unwrap();
    assert_eq!(ours["files"]["service"]["name"], name);
}

/// The `ConfigMap` of the pod is the one that the chart makes, and a change of it replaces the pods.
#[test]
fn the_pods_use_the_charts_configuration_and_follow_it() {
    for name in ["database", "application"] {
        let example = Example::new(name);
        let annotations = |objects: &Manifests| objects.pod()["metadata"]["annotations"].clone();
        let before = example.objects(&[]);
        let maps = before.of_kind("ConfigMap");
        let map = maps.into_iter().find(|map| map["data"]["pgsvid.toml"].is_string()).unwrap();
        let map = &map["metadata"]["name"];
        let volumes = before.pod()["spec"]["volumes"].as_array().unwrap();
        assert!(volumes.iter().any(|volume| volume["configMap"]["name"] == *map), "{name}");
        let after = example.objects(&["--set", "pgsvid.config.log.level=debug"]);
        assert_ne!(annotations(&before), annotations(&after), "{name}");
        let again = example.objects(&["--is-upgrade"]);
        assert_eq!(annotations(&before), annotations(&again), "{name}");
        // What makes the pods gets the identity.
        let labels = &before.pod()["metadata"]["labels"];
        let selector = &before.only("ClusterSPIFFEID")["spec"]["podSelector"]["matchLabels"];
        assert_eq!(labels, selector, "{name}");
    }
}
