//! An upgrade replaces nothing that has to stay. Kubernetes refuses a change of a selector or of a role's reference, and an object
//! with a new name is a new object.
//!
//! There is no released version yet, so the first list is of this version. A later version has to keep it, or document the steps.

use std::fs;

use serde_json::{Value, json};

use crate::chart::helm::{RELEASE, chart, copy, render_as, render_with};
use crate::chart::values::{AGENT, SECRET};
use crate::kubernetes::manifests::{Manifests, root};

const ALL: &str = "replicas: 2\nnetworkPolicy: {enabled: true}\nserviceMonitor: {enabled: true}\nprometheusRule: {enabled: true}\n\
    dashboard: {enabled: true}\nclusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}";

/// Kind, namespace, name, and what cannot be changed.
fn kept() -> Vec<Value> {
    let selector = json!({ "matchLabels": {
        "app.kubernetes.io/name": "pgsvid", "app.kubernetes.io/instance": "rel" } });
    let role = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name });
    vec![
        json!(["ClusterSPIFFEID", null, "pgsvid.rel-pgsvid", null]),
        json!(["ConfigMap", "pgsvid", "rel-pgsvid", null]),
        json!(["ConfigMap", "pgsvid", "rel-pgsvid-dashboard", null]),
        json!(["Deployment", "pgsvid", "rel-pgsvid", selector]),
        json!(["NetworkPolicy", "pgsvid", "rel-pgsvid", null]),
        json!(["PodDisruptionBudget", "pgsvid", "rel-pgsvid", null]),
        json!(["PrometheusRule", "pgsvid", "rel-pgsvid", null]),
        json!(["Role", "db", "pgsvid.rel-pgsvid", null]),
        json!(["Role", "pgsvid", "pgsvid.rel-pgsvid.lease", null]),
        json!(["RoleBinding", "db", "pgsvid.rel-pgsvid", role("pgsvid.rel-pgsvid")]),
        json!([
            "RoleBinding",
            "pgsvid",
            "pgsvid.rel-pgsvid.lease",
            role("pgsvid.rel-pgsvid.lease")
        ]),
        json!(["Service", "pgsvid", "rel-pgsvid", "None"]),
        json!(["ServiceAccount", "pgsvid", "rel-pgsvid", null]),
        json!(["ServiceMonitor", "pgsvid", "rel-pgsvid", null]),
    ]
}

fn fixed(objects: &Manifests) -> Vec<Value> {
    let mut list: Vec<_> = objects
        .all()
        .map(|object| {
            let unchangeable = match object["kind"].as_str().unwrap() {
                "Deployment" => &object["spec"]["selector"],
                "RoleBinding" => &object["roleRef"],
                "Service" => &object["spec"]["clusterIP"],
                _ => &Value::Null,
            };
            let metadata = &object["metadata"];
            json!([object["kind"], metadata["namespace"], metadata["name"], unchangeable])
        })
        .collect();
    list.sort_by_key(Value::to_string);
    list
}

#[track_caller]
fn upgraded(chart: &std::path::Path, values: &[&str]) -> Manifests {
    let rendered = render_with(chart, values, &["--is-upgrade"]).unwrap();
    Manifests::validated("the upgrade", rendered.as_bytes())
}

#[test]
fn names_and_selectors_are_those_of_the_first_version() {
    assert_eq!(RELEASE, ["rel", "pgsvid"]);
    assert_eq!(fixed(&upgraded(&chart(), &[AGENT, SECRET, ALL])), kept());
}

/// A later version of chart and program, with another image, other settings and another number of replicas.
#[test]
fn an_upgrade_keeps_names_and_selectors() {
    let directory = tempfile::tempdir_in(root().join("target")).unwrap();
    copy(&chart(), directory.path());
    let path = directory.path().join("Chart.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let later = text.replace(": 0.1.0", ": 9.9.9");
    assert_eq!(later.matches("9.9.9").count(), 2);
    std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), later.as_bytes()).unwrap();
    let more = "replicas: 3\nimage: {tag: other}\nconfig: {log: {level: debug}}\nrunAsUser: 1234\npodLabels: {team: a}";
    let after = upgraded(directory.path(), &[AGENT, SECRET, ALL, more]);
    assert_eq!(fixed(&after), kept());
    let image = &after.pod()["spec"]["containers"][0]["image"];
    assert_eq!(*image, "ghcr.io/pgsvid/pgsvid:other");
    // The versions are labels of the objects alone.
    let labels = &after.pod()["metadata"]["labels"];
    assert!(!labels.to_string().contains("9.9.9"), "{labels}");
    assert_eq!(
        after.only("Deployment")["metadata"]["labels"]["app.kubernetes.io/version"],
        "9.9.9"
    );
}

/// With a dash between namespace and release both would have the same name, and one would take the other's rights.
#[test]
fn v09_two_releases_share_no_object_in_a_namespace_of_others() {
    let names = |release| {
        let more = "clusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}";
        let rendered = render_as(release, &chart(), &[AGENT, SECRET, more], &[]).unwrap();
        let objects = Manifests::validated("the chart", rendered.as_bytes());
        let shared = |it: &Value| it[1].is_null() || it[1] == "db";
        fixed(&objects).into_iter().filter(shared).collect::<Vec<_>>()
    };
    for (one, other) in [
        (["pgsvid", "a-b"], ["b-pgsvid", "a"]),
        (["pgsvid", "a"], ["pgsvid", "b"]),
        (["one", "a"], ["two", "a"]),
    ] {
        let (one, other) = (names(one), names(other));
        assert_eq!((one.len(), other.len()), (3, 3));
        assert!(one.iter().all(|object| !other.contains(object)), "{one:?} {other:?}");
    }
}

/// From one replica to several and back: the Deployment stays, and only what belongs to several replicas comes and goes.
#[test]
fn a_change_of_the_number_of_replicas_keeps_the_rest() {
    let one = fixed(&upgraded(&chart(), &[AGENT, SECRET]));
    let two = fixed(&upgraded(&chart(), &[AGENT, SECRET, "replicas: 2"]));
    assert!(one.iter().all(|object| two.contains(object)), "{one:?} {two:?}");
    let kinds: Vec<_> = two.iter().filter(|object| !one.contains(object)).map(|o| &o[0]).collect();
    assert_eq!(kinds, ["PodDisruptionBudget"]);
}
