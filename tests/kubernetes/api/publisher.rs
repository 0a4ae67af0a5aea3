//! A pgsvid that writes Secrets, with a `ServiceAccount` and a namespace of its own.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_agent::{DevAgent, Entry};
use serde_json::Value;
use test_support::{Directory, Mark, Program, eventually};

use crate::kubectl::{attempt, kubectl};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const LIMIT: Duration = Duration::from_secs(60);
pub(super) const FIELDS: &str =
    "fields = { 'tls.crt' = 'chain', 'tls.key' = 'key', 'ca.crt' = 'bundle' }\n";

/// A namespace with a `ServiceAccount`, an agent, and a configuration.
pub(super) struct Publisher {
    pub(super) namespace: &'static str,
    pub(super) agent: DevAgent,
    pub(super) files: Directory,
}

impl Publisher {
    /// Creates the namespace and the `ServiceAccount` `publisher`, which has no rights yet.
    pub(super) fn new(namespace: &'static str) -> Self {
        kubectl(&["create", "namespace", namespace]);
        kubectl(&["--namespace", namespace, "create", "serviceaccount", "publisher"]);
        let files = Directory::new();
        let agent = DevAgent::builder(files.join("agent.sock"))
            .entry(Entry::new("spiffe://example.org/ns/test/sa/db").dns("localhost"))
            .automatic(false)
            .start()
            .expect("starts the agent");
        let cluster = std::env::var("PGSVID_CLUSTER").expect("scripts/test-kubernetes runs this");
        let authority = std::fs::read_to_string(format!("{cluster}/pki/ca.crt")).unwrap();
        files.write("ca.crt", &authority, 0o644);
        let publisher = Self { namespace, agent, files };
        publisher.exchange_token();
        publisher
    }

    /// Gives pgsvid a new token.
    pub(super) fn exchange_token(&self) {
        let token = kubectl(&[
            "--namespace",
            self.namespace,
            "create",
            "token",
            "publisher",
            "--duration",
            "10m",
        ]);
        self.files.write("token", token.trim(), 0o644);
    }

    /// Writes the configuration, and grants the rights that `setup rbac` prints.
    pub(super) fn configure_and_grant(&self, tables: &str) {
        self.configure(tables);
        let printed = self.command(&["setup", "rbac", "--service-account", "publisher"]);
        attempt(&["apply", "--filename", "-"], &printed).expect("the printed rights are accepted");
    }

    /// Writes the configuration: the API server, and these tables.
    pub(super) fn configure(&self, tables: &str) {
        self.configure_as("pgsvid.toml", tables);
    }

    pub(super) fn configure_as(&self, file: &str, tables: &str) {
        let server = std::env::var("PGSVID_CLUSTER_SERVER").unwrap();
        let path = |name: &str| self.files.join(name).display().to_string();
        let text = format!(
            "[workload_api]\nendpoint = '{}'\n[health]\nlisten = 'unix:{}.sock'\n[kubernetes]\nserver = '{server}'\nca_file = '{}'\n\
             token_file = '{}'\nnamespace = '{}'\n{tables}",
            self.agent.endpoint(),
            path(file),
            path("ca.crt"),
            path("token"),
            self.namespace,
        );
        self.files.write(file, &text, 0o644);
    }

    /// Starts `pgsvid run`.
    pub(super) fn run(&self) -> Running {
        self.run_as("pgsvid.toml")
    }

    pub(super) fn run_as(&self, file: &str) -> Running {
        let path = self.files.join(file).display().to_string();
        Running(Program::spawn(PGSVID, ["run", "--log-format", "json", "--config", &path], &[]))
    }

    /// What another command prints, which must succeed.
    #[track_caller]
    pub(super) fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(PGSVID);
        command.args(arguments).arg("--config").arg(self.files.join("pgsvid.toml"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text
    }

    /// What `check` prints about Kubernetes. Root asks: it need not find the daemon of another user.
    pub(super) fn checked(&self) -> String {
        let path = self.files.join("pgsvid.toml");
        let output = Command::new(PGSVID).args(["check", "--config"]).arg(path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("\n0 failures, "), "{text}");
        text
    }

    /// A Secret; `None` if there is none.
    pub(super) fn secret(&self, name: &str) -> Option<Value> {
        let arguments = [
            "--namespace",
            self.namespace,
            "get",
            "secret",
            name,
            "--output",
            "json",
            "--show-managed-fields",
        ];
        attempt(&arguments, "").ok().map(|text| serde_json::from_str(&text).unwrap())
    }

    /// A field of a Secret.
    pub(super) fn field(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        STANDARD.decode(self.secret(name)?["data"][key].as_str()?).ok()
    }

    /// Runs kubectl in the namespace, as an administrator.
    #[track_caller]
    pub(super) fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["--namespace", self.namespace], arguments].concat())
    }
}

/// Runs a command as it was printed.
#[track_caller]
pub(super) fn as_printed(event: &Value) {
    let command = event["command"].as_str().unwrap_or_else(|| panic!("no command: {event}"));
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

/// A running pgsvid.
pub(super) struct Running(pub(super) Program);

impl Running {
    #[track_caller]
    pub(super) fn event(&self, name: &str) -> Value {
        self.event_after(Mark::default(), name).0
    }

    #[track_caller]
    pub(super) fn event_after(&self, mark: Mark, name: &str) -> (Value, Mark) {
        self.0.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
    }

    /// Waits for a line with this code of a finding.
    #[track_caller]
    pub(super) fn code(&self, code: &str) -> Value {
        self.0.wait_for_event(LIMIT, |event| {
            event["code"].as_str().is_some_and(|codes| codes.split(", ").any(|it| it == code))
        })
    }

    pub(super) fn count(&self, name: &str) -> usize {
        let lines = self.0.lines();
        let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).count()
    }
}

#[track_caller]
pub(super) fn wait(what: &str, condition: impl FnMut() -> bool) {
    eventually(LIMIT, what, condition);
}
