//! `pgsvid status` on a terminal and in pipes.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use test_support::{Account, LIMIT, Program, Setup, Signal, eventually};

use super::PGSVID;
use super::asked::Asked;

#[test]
fn the_exit_status_tells_ready_not_ready_nobody_and_misuse() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let nobody = status.command(&[]);
    assert_eq!((nobody.status.code(), nobody.stdout.len()), (Some(1), 0));
    let text = String::from_utf8_lossy(&nobody.stderr);
    assert!(text.contains("no answer from unix:") && text.contains("is pgsvid running"), "{text}");

    let pgsvid = setup.spawn();
    setup.wait_published();
    eventually(LIMIT, "PostgreSQL is missed", || status.command(&[]).status.code() == Some(1));
    assert!(status.command(&[]).stdout.starts_with(b"not ready    "));
    setup.cluster.start();
    pgsvid.current(1);
    // A server that has just started may have to be asked once more.
    let at_rest = || status.view()["degraded"] == serde_json::json!([]);
    eventually(LIMIT, "all is well", at_rest);
    let ready = status.command(&[]);
    assert_eq!(ready.status.code(), Some(0));
    let text = String::from_utf8(ready.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let first = format!("current      {}, ", Setup::SPIFFE_ID);
    assert!(
        lines[0].starts_with(&first) && lines[0].contains(" left, served by PostgreSQL since ")
    );
    assert!(lines[1].starts_with("agent        connected for "), "{text}");
    assert!(lines[1].contains(", next renewal in about "), "{text}");
    assert!(lines[2].starts_with("rotations    1 since ") && lines[2].contains(" failed attempt"));
    assert!(!text.contains('\u{1b}'), "no colours in a pipe: {text}");

    let nowhere = Command::new(PGSVID).args(["status"]).env_clear().output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
    let wrong = Command::new(PGSVID).args(["status", "--socket", "9809"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[test]
fn json_is_the_status_itself() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.start();
    let output = status.command(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let mut printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut answered = status.view();
    assert_eq!(printed["targets"][0]["published"]["spiffe_id"], Setup::SPIFFE_ID);
    assert!(printed["median_ms"].is_number() && printed["renewal"].is_string(), "{printed}");
    for view in [&mut printed, &mut answered] {
        view["at"].take();
    }
    assert_eq!(printed, answered);
}

#[test]
fn a_terminal_is_redrawn_until_it_is_interrupted() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let pgsvid = setup.start();
    // A server that has just started may have to be asked once more.
    let at_rest = || status.view()["degraded"] == serde_json::json!([]);
    eventually(LIMIT, "all is well", at_rest);
    // `script` gives its command a terminal, and writes what that shows.
    let command = format!("{PGSVID} status --watch --socket {}", status.name());
    let terminal = Program::spawn_as(
        Account::current(),
        "/usr/bin/script",
        ["--quiet", "--flush", "--return", "--command", &command, "/dev/null"],
        &[("TERM", "xterm")],
    );
    let line = terminal.wait_for(LIMIT, |line| line.contains("current"));
    assert!(line.starts_with("\u{1b}[H\u{1b}[32mcurrent\u{1b}[0m"), "{line:?}");
    assert!(line.trim_end().ends_with("\u{1b}[K"), "{line:?}");
    setup.cluster.set_conf("ssl = off");
    pgsvid.signal(Signal::HUP);
    let line = terminal.wait_for(LIMIT, |line| line.contains("not ready"));
    assert!(line.contains("\u{1b}[H\u{1b}[31mnot ready\u{1b}[0m"), "{line:?}");
    // A daemon that has gone is waited for.
    pgsvid.terminate(LIMIT);
    terminal.wait_for(LIMIT, |line| line.contains("no answer from unix:"));
}

#[test]
fn whoever_reads_no_more_ends_it() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.start();
    let mut watching = Command::new(PGSVID)
        .args(["status", "--watch", "--format", "json", "--socket", &status.name()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let view: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(view["consumers"][0]["verdict"], "current");
    }
    drop(lines);
    eventually(LIMIT, "it ends", || watching.try_wait().unwrap().is_some());
    assert!(watching.wait().unwrap().success());
}
