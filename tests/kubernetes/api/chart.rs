//! The Helm chart on a real API server, by the commands of docs/kubernetes.md: it is installed, and a pgsvid with its configuration
//! and its rights writes the Secret. SPIRE's kind of object is a stand-in without a schema; no pod runs, because there is no node.

use dev_agent::{DevAgent, Entry};
use serde_json::{Value, json};
use test_support::{Directory, Program};

use super::installed::{configuration, stand_in};
use super::publisher::{Running, wait};
use crate::helm::Release;
use crate::kubectl::{get, kubectl};
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

#[test]
fn the_chart_is_installed_upgraded_and_its_rights_are_enough() {
    stand_in("clusterspiffeids", "ClusterSPIFFEID", "spire.spiffe.io/v1alpha1", "Cluster");
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
    files.write("pgsvid.toml", configuration(NAMESPACE, "pgsvid", &files, &agent), 0o644);
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
