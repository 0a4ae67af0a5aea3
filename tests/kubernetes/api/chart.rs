//! The Helm chart on a real API server, by the commands of docs/kubernetes.md: it is installed, and a pgsvid with its configuration
//! and its rights writes the Secret. SPIRE's kind of object is a stand-in without a schema; no pod runs, because there is no node.

use dev_agent::{DevAgent, Entry};
use serde_json::{Value, json};
use test_support::{Directory, Program};

use super::publisher::{Running, wait};
use crate::helm::Release;
use crate::kubectl::{apply, get, kubectl};
use crate::manifests::root;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const NAMESPACE: &str = "chart";

/// Installs or upgrades the chart with the values of the documentation, and these.
#[track_caller]
fn install(release: &Release, more: &[&str]) -> String {
    release.install(&root().join("charts/examples/publisher.yaml"), more)
}

fn deployment() -> Value {
    get(&["--namespace", NAMESPACE, "deployment", "pgsvid"])
}

/// The configuration that the chart has made, with this test's agent and API server, and a token of its `ServiceAccount`.
fn configuration(files: &Directory, agent: &DevAgent) -> String {
    let path = |name: &str| files.join(name).display().to_string();
    let cluster = std::env::var("PGSVID_CLUSTER").expect("scripts/test-kubernetes runs this");
    let authority = std::fs::read_to_string(format!("{cluster}/pki/ca.crt")).unwrap();
    files.write("ca.crt", &authority, 0o644);
    let account = ["--namespace", NAMESPACE, "create", "token", "pgsvid", "--duration", "10m"];
    files.write("token", kubectl(&account).trim(), 0o644);
    let map = get(&["--namespace", NAMESPACE, "configmap", "pgsvid"]);
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

#[test]
fn the_chart_is_installed_upgraded_and_its_rights_are_enough() {
    apply(&[json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "clusterspiffeids.spire.spiffe.io" },
        "spec": {
            "group": "spire.spiffe.io",
            "scope": "Cluster",
            "names": { "kind": "ClusterSPIFFEID", "plural": "clusterspiffeids" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })])
    .unwrap();
    kubectl(&["wait", "--for=condition=Established", "crd/clusterspiffeids.spire.spiffe.io"]);
    kubectl(&["create", "namespace", "databases"]);
    kubectl(&["create", "namespace", NAMESPACE]);
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", NAMESPACE, restricted]);

    let release = Release::named(NAMESPACE, "pgsvid");
    let notes = install(&release, &[]);
    assert!(notes.contains("Secret products-server in namespace databases"), "{notes}");
    // The pods are accepted, although the namespace takes none but restricted ones.
    wait("both pods are there", || {
        let pods = get(&["--namespace", NAMESPACE, "pods"]);
        pods["items"].as_array().unwrap().len() == 2
    });

    let files = Directory::new();
    let agent = DevAgent::builder(files.join("agent.sock"))
        .entry(Entry::new("spiffe://example.org/ns/chart/sa/pgsvid").dns("products-rw"))
        .automatic(false)
        .start()
        .unwrap();
    files.write("pgsvid.toml", configuration(&files, &agent), 0o644);
    let path = files.join("pgsvid.toml").display().to_string();
    let command = ["run", "--log-format", "json", "--config", path.as_str()];
    let pgsvid = Running(Program::spawn(PGSVID, command, &[]));
    pgsvid.event("secret-created");
    pgsvid.event("secrets-handed-over");
    let secret = || get(&["--namespace", "databases", "secret", "products-server"]);
    let first = secret();
    assert_eq!(first["type"], "kubernetes.io/tls");
    agent.rotate().unwrap();
    wait("the next set", || secret()["data"]["tls.crt"] != first["data"]["tls.crt"]);
    let lease = get(&["--namespace", NAMESPACE, "lease", "pgsvid"]);
    assert!(lease["spec"]["holderIdentity"].is_string(), "{lease}");

    // Other numbers of replicas for the same Deployment.
    let before = deployment();
    for replicas in [1, 3, 1] {
        install(&release, &["--set", &format!("replicas={replicas}")]);
        let after = deployment();
        assert_eq!(after["spec"]["replicas"], replicas);
        assert_eq!(after["spec"]["strategy"]["type"], "RollingUpdate");
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    }

    // What is for others stays.
    release.uninstall();
    let rest = get(&[
        "--all-namespaces",
        "role,rolebinding",
        "--selector",
        "app.kubernetes.io/name=pgsvid",
    ]);
    assert_eq!(rest["items"], json!([]));
    assert_eq!(secret()["metadata"]["name"], "products-server");
}
