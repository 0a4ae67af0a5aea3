//! `[client]`: pgsvid logs in as the application does, after each publication and every few minutes.

mod lists;
mod names;
mod places;
mod refused;
mod same_pgsvid;

use std::path::Path;

use serde_json::Value;
use test_support::{LIMIT, Mark, Program, Setup};

use crate::both::{Both, options};

/// Lets the client in by its CN.
const HBA: &str = "hostssl postgres app 127.0.0.1/32 cert\n";
const LOCAL: &str = "local all all peer\n";

/// `[files.service]` with the usual options, and this table after it.
fn tables(setup: &Setup, client: &str) -> String {
    let options = options(setup).map(|(_, keyword, value)| format!("{keyword} = '{value}'"));
    format!(
        "[files.service]\nname = 'products'\n[files.service.options]\n{}\n{client}\n{}",
        options.join("\n"),
        listen(setup)
    )
}

/// Where the client's pgsvid tells its status.
fn listen(setup: &Setup) -> String {
    format!("[health]\nlisten = 'unix:{}'\n", setup.other.join("client.sock").display())
}

/// Both sides, and a client that is let in.
fn running(client: &str) -> Both {
    let both = Both::start_with_tables(|setup| tables(setup, client));
    admitted(both.client(), Mark::default());
    both
}

/// Waits for the next event that says that the client is let in.
#[track_caller]
fn admitted(client: &Program, mark: Mark) -> (Value, Mark) {
    client.wait_for_event_after(mark, LIMIT, |event| event["event"] == "client-admitted")
}

/// Waits for the next event with a verdict, which must be this one with this code.
#[track_caller]
fn told(client: &Program, mark: Mark, verdict: &str, code: &str) -> (Value, Mark) {
    let (event, mark) = client.wait_for_event_after(mark, LIMIT, |event| {
        let names = ["not-in-force", "unproven", "client-admitted", "client-unjudged"];
        names.contains(&event["event"].as_str().unwrap_or_default())
    });
    assert_eq!((&event["verdict"], &event["code"]), (&verdict.into(), &code.into()), "{event}");
    (event, mark)
}

/// The status of the client's pgsvid.
fn status(setup: &Setup) -> Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgsvid"))
        .args(["status", "--format", "json", "--config"])
        .arg(configuration(setup))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The client's configuration.
fn configuration(setup: &Setup) -> std::path::PathBuf {
    Path::new(setup.other.path()).join("client.toml")
}
