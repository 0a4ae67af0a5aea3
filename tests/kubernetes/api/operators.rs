//! The examples for operators that do not run here: the API server takes their objects, and a pgsvid with the configuration of their
//! values.yaml writes the Secrets that these objects name. Zalando's kind has its schema, Crunchy's has none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_agent::{DevAgent, Entry};
use serde_json::Value;
use test_support::{Directory, Program};

use super::installed::{configuration, stand_in};
use super::publisher::Running;
use crate::helm::Release;
use crate::kubectl::{apply, get, kubectl};
use crate::manifests::example;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const RELEASE: &str = "orders-pgsvid";

/// An example in a namespace of its name.
struct Operated {
    namespace: &'static str,
    _release: Release,
    pgsvid: Running,
    _agent: DevAgent,
    _files: Directory,
}

impl Operated {
    /// Once all Secrets are written.
    fn start(namespace: &'static str) -> Self {
        stand_in("clusterspiffeids", "ClusterSPIFFEID", "spire.spiffe.io/v1alpha1", "Cluster");
        apply(&example(namespace, namespace)).unwrap();
        if namespace == "zalando" {
            let own = "--from-literal=DB_CONNECTION_URI=postgres://orders";
            let secret = ["create", "secret", "generic", "infisical-secrets", own];
            kubectl(&[&["--namespace", "infisical"], &secret[..]].concat());
        }
        let release = Release::named(namespace, RELEASE);
        release.install_example(namespace, &[]);
        let files = Directory::new();
        let agent = DevAgent::builder(files.join("agent.sock"))
            .entry(Entry::new("spiffe://example.org/orders").dns("orders"))
            .automatic(false)
            .start()
            .unwrap();
        files.write("pgsvid.toml", configuration(namespace, RELEASE, &files, &agent), 0o644);
        let path = files.join("pgsvid.toml").display().to_string();
        let command = ["run", "--log-format", "json", "--config", path.as_str()];
        let pgsvid = Running(Program::spawn(PGSVID, command, &[]));
        pgsvid.event("secrets-handed-over");
        Self { namespace, _release: release, pgsvid, _agent: agent, _files: files }
    }

    /// A field of the specification of the operator's object.
    fn asked(&self, object: &str, pointer: &str) -> String {
        let object = get(&["--namespace", self.namespace, object]);
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("{pointer}: {object}")).to_owned()
    }
}

/// A field of a Secret.
fn field(namespace: &str, secret: &str, key: &str) -> String {
    let secret = get(&["--namespace", namespace, "secret", secret]);
    let data = secret["data"][key].as_str().unwrap_or_else(|| panic!("{key}: {secret}"));
    String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
}

fn assert_is_pair(namespace: &str, secret: &str) {
    assert!(field(namespace, secret, "tls.crt").starts_with("-----BEGIN CERTIFICATE"));
    assert!(field(namespace, secret, "tls.key").starts_with("-----BEGIN PRIVATE KEY"));
}

#[test]
fn zalandos_operator_is_given_its_secret_and_an_application_the_authorities() {
    let operated = Operated::start("zalando");
    let secret = operated.asked("postgresql/acid-orders", "/spec/tls/secretName");
    assert_is_pair(operated.namespace, &secret);
    let authorities = operated.asked("postgresql/acid-orders", "/spec/tls/caFile");
    let authorities = field(operated.namespace, &secret, &authorities);
    // What Infisical reads from its variable is base64 once more.
    let variable = field("infisical", "infisical-secrets", "DB_ROOT_CERT");
    assert_eq!(STANDARD.decode(variable).unwrap(), authorities.as_bytes());
    assert_eq!(field("infisical", "infisical-secrets", "DB_CONNECTION_URI"), "postgres://orders");
    operated.pgsvid.0.terminate(test_support::LIMIT);
}

#[test]
fn crunchys_operator_is_given_both_secrets_with_the_same_authorities() {
    let version = "postgres-operator.crunchydata.com/v1beta1";
    stand_in("postgresclusters", "PostgresCluster", version, "Namespaced");
    let operated = Operated::start("crunchy");
    let names = ["customTLSSecret", "customReplicationTLSSecret"]
        .map(|it| operated.asked("postgrescluster/orders", &format!("/spec/{it}/name")));
    for name in &names {
        assert_is_pair(operated.namespace, name);
    }
    let [server, replication] = names.map(|name| field(operated.namespace, &name, "ca.crt"));
    assert_eq!(server, replication);
    operated.pgsvid.0.terminate(test_support::LIMIT);
}
