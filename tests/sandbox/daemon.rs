//! The daemon in its sandbox, seen from outside.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use test_support::{LIMIT, Pgsvid, Setup, Strace};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// The value of a line of `/proc/<pid>/status`.
fn status(pgsvid: &Pgsvid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", pgsvid.daemon_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap().trim().to_owned()
}

#[track_caller]
fn assert_no_dumps(pgsvid: &Pgsvid) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", pgsvid.daemon_pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // The kernel gives what is in /proc to root if a process is not dumpable, and else to its user (proc(5)).
    let owner = fs::metadata(format!("/proc/{}/environ", pgsvid.daemon_pid())).unwrap().uid();
    assert_eq!(owner, 0);
    assert_ne!(status(pgsvid, "Uid").split_whitespace().next(), Some("0"));
}

pub(crate) fn is_confined_and_says_so() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let event = pgsvid.event("sandbox-entered");
    let denied = event["denied"].as_str().unwrap();
    for what in ["other files", "other TCP ports", "other processes", "other system calls"] {
        assert!(denied.contains(what), "{event}");
    }
    // Of Linux 7.1, which not every machine has that runs the tests.
    if let Some(lacking) = event.get("lacking") {
        assert_eq!(lacking, "other Unix sockets (Landlock, Linux 7.1)", "{event}");
    }
    assert_eq!(status(&pgsvid, "Seccomp"), "2");
    assert_eq!(status(&pgsvid, "NoNewPrivs"), "1");
    assert_no_dumps(&pgsvid);
    // Every thread is in it.
    for task in fs::read_dir(format!("/proc/{}/task", pgsvid.daemon_pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
    }
}

pub(crate) fn core_dumps_are_off_without_too() {
    let setup = Setup::new(PGSVID);
    setup.configure("[sandbox]\nenabled = false");
    let pgsvid = setup.spawn();
    let event = pgsvid.event("sandbox-off");
    assert_eq!(event["level"], "WARN");
    assert_eq!(status(&pgsvid, "Seccomp"), "0");
    assert_no_dumps(&pgsvid);
}

pub(crate) fn a_name_is_looked_up_at_start() {
    let setup = Setup::new(PGSVID);
    // No name server is asked for a name that cannot be one.
    let pgsvid = setup.spawn_with(&["--verify", "no..name:5432"]);
    assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1));
    let said = pgsvid.standard_error();
    assert!(said.contains("cannot look up no..name:5432") && said.contains("an address"), "{said}");

    let target = format!("localhost:{}", setup.cluster.port());
    let pgsvid = setup.spawn_with(&["--verify", &target]);
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
}

pub(crate) fn an_absent_directory_is_named() {
    let setup = Setup::new(PGSVID);
    let nowhere = setup.other.join("nowhere").display().to_string();
    setup.configure(&format!("files.extra_authorities = ['{nowhere}/ca.pem']"));
    let pgsvid = setup.spawn();
    let (event, _) = pgsvid.wait_for_event_after(test_support::Mark::default(), LIMIT, |event| {
        event["level"] == "WARN" && event["path"] == nowhere.as_str()
    });
    assert!(event["message"].as_str().unwrap().contains("until it restarts"), "{event}");
}

/// The filter of packaging/pgsvid@.service denies what it takes to change capabilities.
pub(crate) fn who_has_no_capabilities_gives_none_up() {
    let setup = Setup::new(PGSVID);
    let arguments: Vec<_> = ["run".to_owned()].into_iter().chain(setup.arguments()).collect();
    let denied = "capset,setgroups:error=EPERM";
    let pgsvid = Strace::around(PGSVID, &arguments, denied);
    pgsvid.wait_for_text(LIMIT, "sandbox entered");
    setup.wait_published();
}
