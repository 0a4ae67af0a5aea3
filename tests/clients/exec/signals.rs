//! J06: signals to pgsvid are for the application.

use std::process::Command;

use test_support::{LIMIT, Mark, Signal, eventually};

use super::{Exec, application, count, daemon, event};

/// Writes each signal that it gets, and ends after SIGTERM with status 5.
const WRITES: &str = "import signal, sys\n\
    caught = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}\n\
    signal.pthread_sigmask(signal.SIG_BLOCK, caught)\n\
    print('ready', flush=True)\n\
    while True:\n\
    \x20   found = signal.sigwait(caught)\n\
    \x20   print('got', int(found), flush=True)\n\
    \x20   if found == signal.SIGTERM: sys.exit(5)\n";

#[test]
fn j06_every_signal_reaches_the_application_and_none_is_for_the_daemon() {
    let exec = Exec::new();
    let program = exec.start(&[], &["/usr/bin/python3", "-c", WRITES]);
    program.wait_for_text(LIMIT, "ready");
    let daemon = daemon(&program);
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::WINCH,
        Signal::URG,
        Signal::IO,
        Signal::POWER,
        Signal::VTALARM,
        Signal::PROF,
        Signal::CONT,
    ] {
        program.signal(signal);
        program.wait_for_text(LIMIT, &format!("got {}", signal.as_raw()));
    }
    // For real time: the first that programs may use, and the last.
    for number in ["34", "64"] {
        let killed = Command::new("kill").args(["-s", number, &program.pid().to_string()]).status();
        assert!(killed.unwrap().success());
        program.wait_for_text(LIMIT, &format!("got {number}"));
    }
    program.signal(Signal::TERM);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(5));
    assert_eq!((count(&program, "asked-again"), count(&program, "daemon-restarted")), (0, 0));
    assert!(!daemon.is_running());
    let got = program.lines().iter().filter(|line| line.starts_with("got ")).count();
    assert_eq!(got, 16, "each once");
}

#[test]
fn j06_it_stops_and_continues_while_renewals_go_on() {
    let exec = Exec::new();
    let program = exec.start(&[], &["sleep", "60"]);
    let application = application(&program);
    let is_stopped = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", application.0)).unwrap();
        status.lines().any(|line| line.starts_with("State:\tT"))
    };
    program.signal(Signal::TSTP);
    eventually(LIMIT, "it has stopped", is_stopped);
    exec.agent.rotate().unwrap();
    program
        .wait_for_event(LIMIT, |event| event["event"] == "published" && event["generation"] == 2);
    program.signal(Signal::CONT);
    eventually(LIMIT, "it goes on", || !is_stopped());
    assert_eq!(program.terminate(LIMIT).code(), Some(143));
}

#[test]
fn j06_signals_that_pgsvid_was_started_to_ignore_stay_ignored() {
    let exec = Exec::new();
    exec.agent.remove_entries();
    let pgsvid = test_support::Program::reachable(super::PGSVID).display().to_string();
    let script = "trap '' HUP; exec \"$@\"";
    let given = exec.arguments(&[], &["/bin/sh", "-c", "kill -HUP $$; exit 3"]);
    let arguments = ["-c", script, "sh", &pgsvid].map(str::to_owned).into_iter().chain(given);
    let program = test_support::Program::spawn("/bin/sh", arguments, &[]);
    program.wait_for_event_after(Mark::default(), LIMIT, |event| {
        event["event"] == "application-awaited"
    });
    program.signal(Signal::HUP);
    exec.agent.add_entry(dev_agent::Entry::new(super::SPIFFE_ID).dns("app")).unwrap();
    event(&program, "application-started");
    assert_eq!(program.wait_exit(LIMIT).code(), Some(3));
}
