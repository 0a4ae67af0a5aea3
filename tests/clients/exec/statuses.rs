//! J01 to J05: exit statuses, and what comes before the application.

use std::time::Duration;

use dev_agent::{Misbehaviour, Status};
use test_support::{Directory, LIMIT, Program, Signal, eventually};

use super::{Exec, PGSVID, application, count, daemon, event};

#[test]
fn j01_the_exit_status_of_the_application_is_handed_through() {
    let exec = Exec::new();
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -USR1 $$", 138),
    ] {
        let program = exec.start(&[], &["/bin/sh", "-c", script]);
        assert_eq!(program.wait_exit(LIMIT).code(), Some(status), "{script}");
    }
    // Killed by others.
    let program = exec.start(&[], &["sleep", "60"]);
    application(&program).signal(Signal::KILL);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(137));
    assert_eq!(event(&program, "application-ended")["status"], "signal: 9 (SIGKILL)");
}

#[test]
fn j01_its_arguments_and_its_input_and_output_are_its_own() {
    let exec = Exec::new();
    let program = exec.start(&[], &["printf", "%s|", "a b", "", "--", "--config", "$HOME"]);
    assert!(program.wait_exit(LIMIT).success());
    assert_eq!(program.standard_output(), "a b||--|--config|$HOME|");
}

#[test]
fn j02_a_program_that_is_missing_gives_127_and_one_that_cannot_be_executed_126() {
    let exec = Exec::new();
    let text = exec.other.write("text", "no program", 0o644).display().to_string();
    let directory = exec.other.path().display().to_string();
    for (name, status) in
        [("/nowhere/at/all", 127), ("no-such-program", 127), (&*text, 126), (&*directory, 126)]
    {
        let program = exec.start(&[], &[name]);
        assert_eq!(program.wait_exit(LIMIT).code(), Some(status), "{name}");
        let error = program.standard_error();
        let told = error.lines().find(|line| line.starts_with("pgsvid: ")).unwrap();
        assert!(told.contains(name), "{told}");
    }
}

#[test]
fn j03_a_signal_while_it_waits_ends_it_and_starts_nothing() {
    let exec = Exec::new();
    exec.agent.remove_entries();
    let touched = exec.other.join("touched").display().to_string();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let program = exec.start(&[], &["touch", &touched]);
        event(&program, "application-awaited");
        // One that is for an application ends nothing.
        program.signal(Signal::USR1);
        program.signal(signal);
        assert_eq!(program.wait_exit(LIMIT).code(), Some(128 + signal.as_raw()));
        assert_eq!(count(&program, "application-started"), 0);
    }
    assert!(!std::path::Path::new(&touched).exists());
}

#[test]
fn j04_without_a_set_in_time_the_status_is_124_and_the_cause_is_reported() {
    let exec = Exec::new();
    exec.agent.stop(dev_agent::Stop::Terminate);
    let program = exec.start(&["--timeout", "2s"], &["true"]);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(124));
    let error = program.standard_error();
    let told = error.lines().find(|line| line.starts_with("pgsvid: ")).unwrap();
    for part in ["2s", &exec.agent.endpoint()] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(count(&program, "application-started"), 0);
}

/// The parent measures the time, so that no daemon can prolong it.
#[test]
fn j04_the_time_limit_holds_while_daemons_are_killed_or_stopped() {
    let exec = Exec::new();
    exec.agent.remove_entries();
    let program = exec.start(&["--timeout", "4s"], &["true"]);
    event(&program, "application-awaited");
    daemon(&program).signal(Signal::KILL);
    event(&program, "daemon-restarted");
    daemon(&program).signal(Signal::STOP);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(124));
    assert!(program.lines().iter().any(|line| line.starts_with("pgsvid: ")));
}

#[test]
fn j04_the_application_starts_once_there_is_a_set() {
    let exec = Exec::new();
    exec.agent.remove_entries();
    let program =
        exec.start(&[], &["test", "-e", &exec.files.join("svid.pem").display().to_string()]);
    event(&program, "application-awaited");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(&program, "application-started"), 0);
    exec.agent.add_entry(dev_agent::Entry::new(super::SPIFFE_ID).dns("app")).unwrap();
    assert!(program.wait_exit(LIMIT).success());
}

#[test]
fn j05_what_pgsvid_cannot_do_gives_125() {
    let exec = Exec::new();
    let run = |flags: &[&str]| exec.start(flags, &["true"]).wait_exit(LIMIT).code();
    assert_eq!(run(&["--service", "none"]), Some(125));
    assert_eq!(run(&["--env", "npgsql", "--service", "products"]), Some(125));
    assert_eq!(run(&["--on-rotation", "signal:NONE"]), Some(125));
    exec.configure("nonsense = true\n");
    assert_eq!(run(&[]), Some(125));
    exec.configure("[[hooks]]\nname = 'application'\ncommand = ['/bin/true']\n");
    assert_eq!(run(&[]), Some(125));
    exec.configure("[[served]]\nname = 'application'\naddress = 'localhost:1'\n");
    assert_eq!(run(&[]), Some(125));
    exec.configure("");
    // Nothing after the dashes, and help.
    assert_eq!(Program::spawn(PGSVID, ["exec"], &[]).wait_exit(LIMIT).code(), Some(125));
    assert!(Program::spawn(PGSVID, ["exec", "--help"], &[]).wait_exit(LIMIT).success());
    // The directory has another pgsvid.
    let first = exec.start(&[], &["sleep", "60"]);
    application(&first);
    assert_eq!(run(&[]), Some(125));
    let nowhere = Directory::new().join("nowhere").display().to_string();
    assert_eq!(run(&["--directory", &nowhere]), Some(125));
    eventually(LIMIT, "the first one goes on", || first.is_running());
}

#[test]
fn j18_the_application_starts_once_its_token_is_there_and_the_token_is_of_this_start() {
    let exec = Exec::new();
    let token = exec.other.subdirectory("tokens").join("token");
    exec.configure(&format!("[[jwt]]\naudience = 'api'\nfile = '{}'\n", token.display()));
    let shows = ["/bin/sh", "-c", "cat \"$0\"", token.to_str().unwrap()];
    let run = || {
        let program = exec.start(&["--timeout", "4s"], &shows);
        (program.wait_exit(LIMIT).code(), program.standard_output())
    };
    let (status, first) = run();
    assert_eq!((status, first.split('.').count()), (Some(0), 3), "{first}");
    // The token of an earlier start is no reason to go on without the agent's answer.
    exec.agent.misbehave(Misbehaviour::RefuseJwt(Status::unavailable("on purpose")));
    assert_eq!(run(), (Some(124), String::new()));
}
