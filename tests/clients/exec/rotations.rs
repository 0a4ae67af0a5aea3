//! J09, J10: what the application is told about a new set.

use std::time::Duration;

use test_support::{LIMIT, Mark, Process, Program, Setup, Signal, eventually};

use super::{Exec, PGSVID, application, count, daemon, event, event_after};

/// The application that was started after the mark.
#[track_caller]
fn next(program: &Program, mark: Mark) -> (Process, Mark) {
    let (event, mark) = event_after(program, mark, "application-started");
    (Process(event["pid"].as_u64().unwrap().try_into().unwrap()), mark)
}

#[test]
fn j09_it_is_restarted_after_each_set_and_once() {
    let exec = Exec::new();
    let script = "trap 'exit 0' TERM; echo begun; while :; do sleep 0.05; done";
    let program = exec.start(&["--on-rotation", "restart"], &["/bin/sh", "-c", script]);
    let (first, mark) = next(&program, Mark::default());
    program.wait_for_text(LIMIT, "begun");
    exec.agent.rotate().unwrap();
    let (second, mark) = next(&program, mark);
    assert!(!first.is_running() && first.0 != second.0);
    event_after(&program, mark, "hook-succeeded");
    // A daemon that was replaced changes nothing for the application.
    daemon(&program).signal(Signal::KILL);
    event_after(&program, mark, "daemon-restarted");
    exec.agent.repeat();
    std::thread::sleep(Duration::from_millis(500));
    assert!(second.is_running());
    assert_eq!(count(&program, "application-started"), 2);
    // The bundle alone has changed.
    exec.agent.prepare_authority().unwrap();
    let (third, _) = next(&program, mark);
    eventually(LIMIT, "the second has ended", || !second.is_running());
    third.signal(Signal::KILL);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(137), "its own end is that of all");
}

#[test]
fn j09_one_that_does_not_end_is_killed_with_all_that_it_has_started() {
    let exec = Exec::new();
    // The grandchild ignores the request, too.
    let script = "trap '' TERM; sleep 1000 & echo child $!; while :; do sleep 0.05; done";
    let flags = ["--on-rotation", "restart", "--grace", "500ms"];
    let program = exec.start(&flags, &["/bin/sh", "-c", script]);
    let line = program.wait_for_text(LIMIT, "child ");
    let child = Process(line.trim_start_matches("child ").parse().unwrap());
    let (first, mark) = next(&program, Mark::default());
    exec.agent.rotate().unwrap();
    next(&program, mark);
    assert!(!first.is_running());
    eventually(LIMIT, "the grandchild is gone", || !child.is_running());
    let status = event(&program, "application-ended")["status"].clone();
    assert_eq!(status, "signal: 9 (SIGKILL)");
}

#[test]
fn j09_what_a_shell_has_started_does_not_outlive_it() {
    let exec = Exec::new();
    // The shell ends at once, and its child would not.
    let script = "(trap '' TERM; exec sleep 1000) & echo child $!; wait";
    let program = exec.start(&["--on-rotation", "restart"], &["/bin/sh", "-c", script]);
    let line = program.wait_for_text(LIMIT, "child ");
    let child = Process(line.trim_start_matches("child ").parse().unwrap());
    let (_, mark) = next(&program, Mark::default());
    exec.agent.rotate().unwrap();
    next(&program, mark);
    eventually(LIMIT, "the child is gone", || !child.is_running());
}

#[test]
fn j17_an_application_that_has_joined_another_group_is_restarted_too() {
    let exec = Exec::new();
    let script = "setpgrp(0, getpgrp(getppid())); $| = 1; print qq(joined\n); sleep 1000";
    let flags = ["--on-rotation", "restart", "--grace", "500ms"];
    let program = exec.start(&flags, &["perl", "-e", script]);
    program.wait_for_text(LIMIT, "joined");
    let (first, mark) = next(&program, Mark::default());
    exec.agent.rotate().unwrap();
    next(&program, mark);
    assert!(!first.is_running());
}

#[test]
fn j09_a_signal_reaches_the_application_alone_for_each_set() {
    let exec = Exec::new();
    let script = "trap 'echo told' USR1; echo begun; while :; do sleep 0.05; done";
    let program = exec.start(&["--on-rotation", "signal:USR1"], &["/bin/sh", "-c", script]);
    program.wait_for_text(LIMIT, "begun");
    let told = || program.lines().iter().filter(|line| *line == "told").count();
    for rotations in 1..=2 {
        exec.agent.rotate().unwrap();
        eventually(LIMIT, "it was told", || told() == rotations);
    }
    assert_eq!(count(&program, "application-started"), 1);
    assert_eq!(program.terminate(LIMIT).code(), Some(143));
}

#[test]
fn j09_by_default_the_application_is_not_notified() {
    let exec = Exec::new();
    let program = exec.start(&[], &["sleep", "60"]);
    let application = application(&program);
    for generation in 2..=3 {
        exec.agent.rotate().unwrap();
        program.wait_for_event(LIMIT, |event| {
            event["event"] == "published" && event["generation"] == generation
        });
    }
    assert!(application.is_running());
    assert_eq!(
        (count(&program, "application-started"), count(&program, "application-ended")),
        (1, 0)
    );
}

/// An earlier run had another configuration.
#[test]
fn j15_it_starts_with_the_files_of_its_own_configuration() {
    let exec = Exec::new();
    let configured = std::fs::read_to_string(exec.other.join("pgsvid.toml")).unwrap();
    let (without, _) = configured.split_once("[[files.service]]").unwrap();
    let former = exec.other.write("former.toml", without, 0o644).display().to_string();
    let fetched = Program::spawn(PGSVID, ["fetch", "--config", &former], &[]);
    assert!(fetched.wait_exit(LIMIT).success(), "{}", fetched.standard_error());
    for _ in 0..3 {
        let program = exec.start(&[], &["/bin/sh", "-c", "cat \"$PGSERVICEFILE\""]);
        assert_eq!(program.wait_exit(LIMIT).code(), Some(0), "{}", program.standard_error());
        let fetched = Program::spawn(PGSVID, ["fetch", "--config", &former], &[]);
        assert!(fetched.wait_exit(LIMIT).success(), "{}", fetched.standard_error());
    }
}

#[test]
fn j16_a_signal_waits_until_the_application_handles_it() {
    let exec = Exec::new();
    let script = "echo begun; while ! [ -e \"$0\" ]; do sleep 0.05; done; trap 'echo told' USR1; \
         while :; do sleep 0.05; done";
    let ready = exec.other.join("ready");
    let application = ["/bin/sh", "-c", script, ready.to_str().unwrap()];
    let program = exec.start(&["--on-rotation", "signal:USR1"], &application);
    program.wait_for_text(LIMIT, "begun");
    exec.agent.rotate().unwrap();
    event(&program, "published");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(count(&program, "application-ended"), 0);
    std::fs::File::create(ready).unwrap();
    program.wait_for_text(LIMIT, "told");
    event(&program, "hook-succeeded");
}

#[test]
fn j10_asked_to_end_during_a_restart_it_is_not_started_again() {
    let exec = Exec::new();
    for signal in [Signal::TERM, Signal::INT] {
        let script = "trap 'echo asked; sleep 1; exit 6' TERM; trap '' INT; echo begun; while :; do sleep 0.05; done";
        let program = exec.start(&["--on-rotation", "restart"], &["/bin/sh", "-c", script]);
        program.wait_for_text(LIMIT, "begun");
        exec.agent.rotate().unwrap();
        program.wait_for_text(LIMIT, "asked");
        program.signal(signal);
        assert_eq!(program.wait_exit(LIMIT).code(), Some(6));
        assert_eq!(count(&program, "application-started"), 1);
    }
}

#[test]
fn j10_a_restart_that_fails_ends_all_with_its_status() {
    let exec = Exec::new();
    let body = "#!/bin/sh\ntrap 'exit 0' TERM\necho begun\nwhile :; do sleep 0.05; done\n";
    let file = exec.other.write("application", body, 0o755);
    let program = exec.start(&["--on-rotation", "restart"], &[&file.display().to_string()]);
    program.wait_for_text(LIMIT, "begun");
    std::fs::remove_file(&file).unwrap();
    exec.agent.rotate().unwrap();
    assert_eq!(program.wait_exit(LIMIT).code(), Some(127));
}

/// The application may be started before PostgreSQL, and is restarted only once PostgreSQL is proven to serve the set.
#[test]
fn j09_beside_a_server_it_waits_for_the_proof() {
    let setup = Setup::new(PGSVID);
    let mut arguments = vec!["exec".to_owned()];
    arguments.extend(setup.arguments());
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let application = ["--env", "none", "--on-rotation", "restart", "--", "/bin/sh", "-c", script];
    arguments.extend(application.map(str::to_owned));
    let program = Program::spawn(PGSVID, arguments, &[]);
    let (first, mark) = next(&program, Mark::default());
    setup.agent.rotate().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(first.is_running(), "there is no server");
    setup.cluster.start();
    next(&program, mark);
    let lines = program.lines();
    let place = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(place("\"rotated\"") < place("application-ended"));
}
