//! What the chart has installed, for a pgsvid that runs outside of the cluster: on an API server alone no pod runs.

use dev_agent::DevAgent;
use serde_json::json;
use test_support::Directory;

use crate::kubectl::{apply, get, kubectl};

/// A kind of another program, without its schema.
pub(super) fn stand_in(plural: &str, kind: &str, version: &str, scope: &str) {
    let (group, version) = version.split_once('/').unwrap();
    let name = format!("{plural}.{group}");
    apply(&[json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": name },
        "spec": {
            "group": group,
            "scope": scope,
            "names": { "kind": kind, "plural": plural },
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })])
    .unwrap();
    kubectl(&["wait", "--for=condition=Established", &format!("crd/{name}")]);
}

/// The configuration of a release, with this test's agent and API server, and a token of the `ServiceAccount` of the same name.
pub(super) fn configuration(
    namespace: &str,
    name: &str,
    files: &Directory,
    agent: &DevAgent,
) -> String {
    let path = |name: &str| files.join(name).display().to_string();
    let cluster = crate::cluster::directory();
    let authority = std::fs::read_to_string(cluster.join("pki/ca.crt")).unwrap();
    files.write("ca.crt", &authority, 0o644);
    let account = ["--namespace", namespace, "create", "token", name, "--duration", "10m"];
    files.write("token", kubectl(&account).trim(), 0o644);
    let map = get(&["--namespace", namespace, "configmap", name]);
    let mut toml = map["data"]["pgsvid.toml"].as_str().unwrap().to_owned();
    for (chart, test) in [
        ("unix:///spiffe-workload-api/spire-agent.sock", agent.endpoint()),
        ("0.0.0.0:9809", format!("unix:{}", path("health.sock"))),
    ] {
        assert!(toml.contains(chart), "{toml}");
        toml = toml.replace(chart, &test);
    }
    let server = std::env::var("PGSVID_CLUSTER_SERVER").unwrap();
    let (ca, token) = (path("ca.crt"), path("token"));
    format!("{toml}\n[kubernetes]\nserver = '{server}'\nca_file = '{ca}'\ntoken_file = '{token}'\n")
}
