//! J11, J12: pgsvid's own processes are killed, and the application goes on.

use std::io::Write as _;

use test_support::{LIMIT, Mark, Process, Signal, eventually};

use super::{Exec, application, count, daemon, event, event_after};

#[test]
fn j11_a_daemon_that_is_killed_harms_no_application() {
    let exec = Exec::new();
    // Before there is a set.
    exec.agent.remove_entries();
    let script = "trap 'sleep 1; exit 0' TERM; echo begun; while :; do sleep 0.05; done";
    let program = exec.start(&["--on-rotation", "restart"], &["/bin/sh", "-c", script]);
    event(&program, "application-awaited");
    daemon(&program).signal(Signal::KILL);
    let (_, mark) = event_after(&program, Mark::default(), "daemon-restarted");
    exec.agent.add_entry(dev_agent::Entry::new(super::SPIFFE_ID).dns("app")).unwrap();
    let first = application(&program);
    program.wait_for_text(LIMIT, "begun");
    // While it runs.
    daemon(&program).signal(Signal::KILL);
    let (_, mark) = event_after(&program, mark, "daemon-restarted");
    assert!(first.is_running());
    assert_eq!(count(&program, "application-started"), 1);
    // While it ends, in order to be started again.
    event_after(&program, mark, "identity-received");
    exec.agent.rotate().unwrap();
    event_after(&program, mark, "published");
    daemon(&program).signal(Signal::KILL);
    let (_, mark) = event_after(&program, mark, "daemon-restarted");
    eventually(LIMIT, "it was started again", || count(&program, "application-started") == 2);
    eventually(LIMIT, "it was started again", || !first.is_running());
    // The next set reaches it as before.
    event_after(&program, mark, "set-adopted");
    exec.agent.rotate().unwrap();
    eventually(LIMIT, "it was started again", || count(&program, "application-started") == 3);
    // The shell may not have come to its trap.
    assert!([Some(0), Some(143)].contains(&program.terminate(LIMIT).code()));
}

#[test]
fn j11_the_status_says_how_often_the_daemon_was_replaced_and_why() {
    let exec = Exec::new();
    let socket = exec.other.join("status.sock");
    exec.configure(&format!("[health]\nlisten = 'unix:{}'\n", socket.display()));
    let program = exec.start(&[], &["sleep", "60"]);
    event(&program, "application-started");
    let file = exec.other.join("pgsvid.toml").display().to_string();
    let status = |format: &str| {
        let arguments = ["status", "--format", format, "--config", &file];
        let output = std::process::Command::new(super::PGSVID).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let restarts = || {
        let view: serde_json::Value = serde_json::from_str(&status("json")).ok()?;
        Some(view["restarts"].clone())
    };
    assert_eq!(restarts(), Some(serde_json::Value::Null));
    daemon(&program).signal(Signal::KILL);
    eventually(LIMIT, "it was replaced", || restarts().is_some_and(|it| it["count"] == 1));
    assert!(restarts().unwrap()["ended"].as_str().unwrap().contains("SIGKILL"));
    assert!(status("text").contains("\ndaemon       restarted once"), "{}", status("text"));
}

#[test]
fn j11_a_configuration_that_became_wrong_harms_no_application() {
    let exec = Exec::new();
    let program = exec.start(&[], &["sleep", "60"]);
    let application = application(&program);
    exec.configure("nonsense = true\n");
    let mark = program.mark();
    daemon(&program).signal(Signal::KILL);
    program.wait_for_text_after(mark, LIMIT, "pgsvid: ");
    assert!(application.is_running() && program.is_running());
    // Other variables than those that it was started with.
    exec.configure("");
    let toml = std::fs::read_to_string(exec.other.join("pgsvid.toml")).unwrap();
    exec.other.write("pgsvid.toml", toml.replace("'products'", "'others'"), 0o644);
    event_after(&program, mark, "application-changed");
    assert!(application.is_running());
    assert_eq!(program.terminate(LIMIT).code(), Some(143));
}

#[test]
fn j12_the_application_goes_on_if_the_parent_is_killed_and_the_daemon_does_not() {
    let exec = Exec::new();
    let program = exec.start(&[], &["sleep", "60"]);
    let (application, daemon) = (application(&program), daemon(&program));
    Process(program.pid()).signal(Signal::KILL);
    eventually(LIMIT, "the daemon is gone", || !daemon.is_running());
    assert!(application.is_running());
    application.signal(Signal::KILL);
}

#[test]
fn j12_a_daemon_that_hangs_does_not_keep_the_end_from_coming() {
    let exec = Exec::new();
    let program = exec.start(&[], &["/bin/sh", "-c", "read word < \"$0\"; exit 8", &pipe(&exec)]);
    application(&program);
    let daemon = daemon(&program);
    daemon.signal(Signal::STOP);
    let mut pipe = std::fs::File::options().write(true).open(pipe(&exec)).unwrap();
    pipe.write_all(b"go\n").unwrap();
    drop(pipe);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(8));
    assert!(!daemon.is_running());
}

/// A named pipe.
fn pipe(exec: &Exec) -> String {
    let path = exec.other.join("pipe");
    if !path.exists() {
        let made = std::process::Command::new("mkfifo").args(["-m", "666"]).arg(&path).status();
        assert!(made.unwrap().success());
    }
    path.display().to_string()
}
