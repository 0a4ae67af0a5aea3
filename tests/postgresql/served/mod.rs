//! `[[served]]`: servers that somebody else reloads are only looked at. Here pgsvid reloads the first of two, and nobody the second.

mod answers;
mod instances;
mod names;

use std::process::Command;

use serde_json::Value;
use test_support::{Cluster, FileOver, LIMIT, Mark, Pgsvid, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// The name of both, which the certificate has.
const NAME: &str = "localhost";
/// Where the first one listens, and where the second one does.
const FIRST: &str = "127.0.0.1";
const SECOND: &str = "127.0.0.2";

/// The text of /etc/hosts that gives the name these addresses.
fn hosts(addresses: &[&str]) -> String {
    let lines: Vec<_> = addresses.iter().map(|address| format!("{address} {NAME}")).collect();
    lines.join("\n")
}

/// Two servers behind one name.
struct Two {
    setup: Setup,
    /// Reads the published files, and is reloaded by nobody.
    second: Cluster,
    hosts: FileOver,
    pgsvid: Pgsvid,
}

impl Two {
    /// Both serve the first set. `table` are keys of the `[[served]]`.
    fn start(addresses: &[&str], table: &str) -> Self {
        let hosts = FileOver::over("/etc/hosts", &hosts(addresses));
        let setup = Setup::new(PGSVID);
        let port = setup.cluster.port();
        let second = Cluster::builder().tls_files(setup.files.path()).at(SECOND, port).create();
        configure(&setup, &format!("{NAME}:{port}"), table);
        let pgsvid = setup.spawn();
        setup.wait_published();
        setup.cluster.start();
        second.start();
        pgsvid.current(1);
        Self { setup, second, hosts, pgsvid }
    }

    /// The next set, which only the first server is made to load; returns what came before it in the log.
    fn rotate(&self, generation: u64) -> Mark {
        let mark = self.pgsvid.mark();
        self.setup.agent.rotate().unwrap();
        self.pgsvid.current(generation);
        mark
    }

    fn address(&self, host: &str) -> String {
        format!("{host}:{}", self.setup.cluster.port())
    }
}

/// pgsvid reloads the cluster of the setup, and looks at this address.
fn configure(setup: &Setup, address: &str, table: &str) {
    let listen = setup.other.join("status.sock");
    setup.configure(&format!(
        "[postgres]\n[[served]]\nname = 'both'\naddress = '{address}'\n{table}\n[health]\nlisten = 'unix:{}'\n",
        listen.display()
    ));
}

/// Waits until every instance serves the set.
#[track_caller]
fn everywhere(pgsvid: &Pgsvid, generation: u64) -> Value {
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "served-everywhere" && event["generation"] == generation
    })
}

/// Waits for the next event of this name with this verdict and this code.
#[track_caller]
fn told(pgsvid: &Pgsvid, mark: Mark, name: &str, verdict: &str, code: &str) -> (Value, Mark) {
    pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        let is = |key: &str, value: &str| event[key] == value;
        is("event", name) && is("verdict", verdict) && is("code", code)
    })
}

/// Waits for the line that an instance serves the published set.
#[track_caller]
fn instance(pgsvid: &Pgsvid, mark: Mark, address: &str) -> Value {
    let is_it = |event: &Value| event["event"] == "instance-current" && event["address"] == address;
    pgsvid.wait_for_event_after(mark, LIMIT, is_it).0
}

/// The status as a whole, and the part about the instances.
fn status(setup: &Setup) -> (Value, Value) {
    let socket = format!("unix:{}", setup.other.join("status.sock").display());
    let arguments = ["status", "--format", "json", "--socket", &socket];
    let output = Command::new(PGSVID).args(arguments).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let consumers = status["consumers"].as_array().cloned().unwrap_or_default();
    let served = consumers.into_iter().find(|it| it["kind"] == "served").unwrap_or_default();
    (status, served)
}

/// The verdict on each instance.
fn verdicts(served: &Value) -> Vec<(String, String)> {
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let all = served["instances"]["instances"].as_array().cloned().unwrap_or_default();
    all.iter().map(|it| (text(it, "address"), text(it, "verdict"))).collect()
}
