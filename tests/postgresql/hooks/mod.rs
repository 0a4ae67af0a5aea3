//! Hooks: commands and signals that follow a publication.

mod barrier;
mod checked;
mod commands;
mod lives;
mod proof;
mod rights;
mod signals;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use test_support::{LIMIT, Mark, Pgsvid, Setup, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// A script in the directory for whatever a test needs.
fn script(setup: &Setup, name: &str, body: &str) -> PathBuf {
    setup.other.write(name, format!("#!/bin/sh\n{body}\n"), 0o755)
}

/// The table of a hook that runs this program, with more keys.
fn command(name: &str, program: &Path, more: &str) -> String {
    let program = program.display();
    format!("[[hooks]]\nname = '{name}'\ncommand = ['{program}']\n{more}\n")
}

/// Replaces the configuration by these tables, and a status that can be asked.
fn configure(setup: &Setup, tables: &[String]) {
    let listen = format!("[health]\nlisten = \"unix:{}\"\n", socket(setup).display());
    setup.configure(&format!("{}\n{listen}", tables.concat()));
}

fn socket(setup: &Setup) -> PathBuf {
    setup.other.join("status.sock")
}

/// What `pgsvid status` says, as JSON.
fn view(setup: &Setup) -> Value {
    let address = format!("unix:{}", socket(setup).display());
    let output = Command::new(PGSVID)
        .args(["status", "--format", "json", "--socket", &address])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// What it says of this hook.
fn hook(setup: &Setup, name: &str) -> Value {
    let view = view(setup);
    let consumers = view["consumers"].as_array().cloned().unwrap_or_default();
    consumers.into_iter().find(|it| it["name"] == name).unwrap_or(Value::Null)
}

/// Waits for the next event of this name about a hook.
#[track_caller]
fn told(pgsvid: &Pgsvid, mark: Mark, event: &str, hook: &str) -> (Value, Mark) {
    pgsvid.wait_for_event_after(mark, LIMIT, |it| it["event"] == event && it["consumer"] == hook)
}

/// Waits for the first failure of a hook, and looks at its code.
#[track_caller]
fn fails(pgsvid: &Pgsvid, hook: &str, code: &str) -> Value {
    let (event, _) = told(pgsvid, Mark::default(), "hook-failed", hook);
    assert_eq!((&event["code"], &event["level"]), (&code.into(), &"ERROR".into()), "{event}");
    event
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits until a file has this many lines, and returns them.
#[track_caller]
fn lines(path: &Path, count: usize) -> Vec<String> {
    let has = || read(path).matches('\n').count() >= count;
    eventually(LIMIT, format!("{} has {count} lines", path.display()), has);
    read(path).lines().map(str::to_owned).collect()
}

/// Where the first line of the log is that this holds for.
#[track_caller]
fn place(pgsvid: &Pgsvid, wanted: impl Fn(&Value) -> bool) -> usize {
    let lines = pgsvid.lines();
    let found =
        lines.iter().position(|line| serde_json::from_str(line).is_ok_and(|it| wanted(&it)));
    found.unwrap_or_else(|| panic!("there is no such line in {lines:#?}"))
}
