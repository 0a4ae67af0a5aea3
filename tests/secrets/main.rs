//! `[[secrets]]` with an API server that misbehaves on demand. What a real one does: `tests/kubernetes`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod faults;
mod memory;
mod names;
mod order;
mod replicas;
mod writing;

use std::process::Output;

use dev_agent::{DevAgent, Entry};
use serde_json::Value;
use test_support::{ApiServer, Directory, LIMIT, Mark, Program, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const SPIFFE_ID: &str = "spiffe://example.org/ns/test/sa/db";

/// The fields of a usual Secret.
const FIELDS: &str = "fields = { 'tls.crt' = 'chain', 'tls.key' = 'key', 'ca.crt' = 'bundle' }\n";

/// An agent, an API server, and a configuration.
struct World {
    agent: DevAgent,
    server: ApiServer,
    files: Directory,
}

impl World {
    fn new() -> Self {
        let files = Directory::new();
        let agent = agent(&files, "agent.sock");
        Self { agent, server: ApiServer::start(), files }
    }

    /// Writes the configuration: the API server, and these tables.
    fn configure(&self, tables: &str) {
        self.configure_as("pgsvid.toml", &self.agent, tables);
    }

    /// The same for a replica with an agent of its own.
    fn configure_as(&self, file: &str, agent: &DevAgent, tables: &str) {
        let text = format!(
            "[workload_api]\nendpoint = '{}'\n[health]\nlisten = 'unix:{}.sock'\n{}{tables}",
            agent.endpoint(),
            self.files.join(file).display(),
            self.server.table()
        );
        self.files.write(file, &text, 0o644);
    }

    /// Starts `pgsvid run`.
    fn run(&self) -> Running {
        self.run_as("pgsvid.toml")
    }

    fn run_as(&self, file: &str) -> Running {
        let path = self.files.join(file).display().to_string();
        let arguments = ["run", "--log-format", "json", "--config", &path];
        Running(Program::spawn(PGSVID, arguments, &[]))
    }

    /// Runs another command with this configuration.
    fn command(&self, arguments: &[&str]) -> Output {
        let path = self.files.join("pgsvid.toml");
        let mut command = std::process::Command::new(PGSVID);
        command.args(arguments).arg("--config").arg(path).env_clear().output().unwrap()
    }
}

/// Starts an agent, with an authority of its own.
fn agent(files: &Directory, socket: &str) -> DevAgent {
    DevAgent::builder(files.join(socket))
        .entry(Entry::new(SPIFFE_ID).dns("localhost"))
        .automatic(false)
        .start()
        .expect("starts the agent")
}

/// A running pgsvid.
struct Running(Program);

impl Running {
    fn event(&self, name: &str) -> Value {
        self.event_after(Mark::default(), name).0
    }

    fn event_after(&self, mark: Mark, name: &str) -> (Value, Mark) {
        self.0.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
    }

    /// Waits for a line with this code of a finding.
    fn code(&self, code: &str) -> Value {
        self.0.wait_for_event(LIMIT, |event| {
            event["code"].as_str().is_some_and(|codes| codes.split(", ").any(|it| it == code))
        })
    }

    fn count(&self, name: &str) -> usize {
        let lines = self.0.lines();
        let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).count()
    }
}

/// Waits until something holds.
#[track_caller]
fn wait(what: &str, condition: impl FnMut() -> bool) {
    eventually(LIMIT, what, condition);
}
