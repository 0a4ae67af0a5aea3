//! pgsvid.toml says what the values say.

use serde_json::{Value, json};

use crate::chart::helm::{Example, objects, render_with};
use crate::chart::values::{AGENT, FILES, SECRET};
use crate::kubernetes::configuration::assert_valid;

/// As another program reads it.
#[track_caller]
fn toml(values: &[&str]) -> Value {
    toml::from_str(objects(values).configurations()[0]).unwrap()
}

/// Helm reads each number as a float; a port of 5432.0 would be an error.
#[test]
fn numbers_stay_integers_wherever_they_come_from() {
    let values = [
        FILES,
        SECRET,
        "config: {certificates: {renewal_percent: 80}, files: {keep_at_most: 1000}}",
    ];
    let volume = "extraVolumes: [{name: tls, emptyDir: {}}, {name: s, emptyDir: {}}]\n\
        extraVolumeMounts: [{name: tls, mountPath: /tls}, {name: s, mountPath: /svids}]";
    let mut read = toml(&[&values[..], &["config: {files: {directory: /svids}}", volume]].concat());
    assert_eq!(read["certificates"]["renewal_percent"].take(), json!(80));
    assert_eq!(read["files"]["keep_at_most"].take(), json!(1000));

    // In a list of tables.
    let several = "mode: sidecar\nconfig: {files: {directory: /svids}, postgres: [{port: 6432}]}";
    assert_eq!(toml(&[AGENT, several])["postgres"][0]["port"], json!(6432));

    // Through the values of another chart, and by --set.
    let example = Example::new("database");
    for argument in ["--set", "--set-json"] {
        let rendered = example.objects(&[argument, "pgsvid.config.postgres.port=6432"]);
        let text = rendered.configurations()[0];
        let read: Value = toml::from_str(text).unwrap();
        assert_eq!(read["postgres"]["port"], json!(6432), "{argument}");
        assert_valid(text);
    }
}

#[test]
fn names_with_dots_lists_of_tables_and_mixed_fields_are_kept() {
    let secrets = json!([
        {
            "namespace": "db", "name": "server", "type": "kubernetes.io/tls", "create": true,
            "labels": { "cnpg.io/reload": "" }, "annotations": {},
            "owner": { "api_version": "v1", "kind": "ConfigMap", "name": "x", "uid": "u" },
            "fields": {
                "tls.crt": "chain", "tls.key": "key", "ca.crt": "bundle",
                "DB_ROOT_CERT": { "content": "bundle", "base64": true },
            },
        },
        {
            "namespace": "db", "name": "other", "fields": { "x": "chain" },
            "annotations": { "a": "a \"quoted\" one", "b": "line\nbreak" },
        },
    ]);
    let config = json!({
        "config": {
            "workload_api": { "endpoint": "unix:///agent/socket" },
            "secrets": secrets,
            "kubernetes": { "field_manager": "pgsvid" },
            "served": [{ "address": "db:5432", "every": "1m" }],
            "svid": { "dns_names": ["a", "b"] },
        }
    });
    let values = config.to_string();
    let rendered = render_with(&super::helm::chart(), &[&values, "rbac: {create: false}"], &[]);
    let manifests = crate::kubernetes::manifests::Manifests::validated(
        "the chart",
        rendered.unwrap().as_bytes(),
    );
    let mut expected = config["config"].clone();
    expected["health"] = json!({ "listen": "0.0.0.0:9809" });
    expected["log"] = json!({ "format": "json" });
    expected["lease"] = json!({ "name": "rel-pgsvid", "namespace": "pgsvid" });
    let read: Value = toml::from_str(manifests.configurations()[0]).unwrap();
    assert_eq!(read, expected);
    // The socket's directory is the mount.
    let mounts = &manifests.pod()["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(mounts[1]["mountPath"], "/agent");
}

#[test]
fn a_change_of_the_configuration_replaces_the_pods() {
    let sum = |values: &[&str]| objects(values).pod()["metadata"]["annotations"].clone();
    let before = sum(&[AGENT, SECRET]);
    assert_eq!(before, sum(&[AGENT, SECRET, "resources: {limits: {memory: 64Mi}}"]));
    assert_ne!(before, sum(&[AGENT, SECRET, "config: {log: {level: debug}}"]));
    assert!(before["checksum/rel-pgsvid"].as_str().is_some_and(|sum| sum.len() == 64));
}
