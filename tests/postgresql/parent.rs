//! X08, X09: the parent, and the daemon that it restarts.

use std::fs;
use std::process::Command;
use std::time::Duration;

use test_support::{Account, LIMIT, Mark, Pgsvid, Process, Program, Setup, Signal, eventually};
use tokio::time::Instant;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// Kills the daemon, and waits for the next one to say that it is there.
#[track_caller]
fn kill(pgsvid: &Pgsvid, signal: Signal) -> serde_json::Value {
    let mark = pgsvid.mark();
    pgsvid.daemon().signal(signal);
    pgsvid.event_after(mark, "daemon-restarted").0
}

#[test]
fn x08_a_daemon_killed_by_any_signal_is_started_again_within_a_second_and_logs_it() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let parent = pgsvid.pid();
    for (signal, restarts) in [Signal::KILL, Signal::ABORT].into_iter().zip(1..) {
        let before = pgsvid.daemon();
        let killed = Instant::now();
        before.signal(signal);
        eventually(LIMIT, "there is another daemon", || pgsvid.daemon().0 != before.0);
        // The pause is half a second, then a second, at most; the rest is a busy machine's.
        assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
        let event = pgsvid.wait_for_event(LIMIT, |event| {
            event["event"] == "daemon-restarted" && event["restarts"] == restarts
        });
        assert_eq!(event["level"], "ERROR");
        let cause = event["cause"].as_str().unwrap();
        assert!(cause.contains(&format!("signal: {} ", signal.as_raw())), "{event}");
    }
    // What was published counts at once, and everything goes on.
    pgsvid.current(0);
    setup.agent.rotate().unwrap();
    let serial = setup.agent.svid().serial_hex();
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "rotated"
            && serial.starts_with(&event["serial"].as_str().unwrap().replace(':', ""))
    });
    assert_eq!(pgsvid.pid(), parent);
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn x08_a_daemon_that_ends_by_itself_is_started_again_once_it_was_ready() {
    let setup = Setup::new(PGSVID);
    setup.configure("# as it was\n");
    let pgsvid = setup.start();
    // It is read at the start of each daemon.
    setup.configure("nonsense = true\n");
    let mark = pgsvid.mark();
    pgsvid.daemon().signal(Signal::KILL);
    pgsvid.wait_for_text_after(mark, LIMIT, "pgsvid: ");
    assert!(pgsvid.is_running());
    setup.configure("");
    let (event, _) = pgsvid.event_after(mark, "daemon-restarted");
    assert_eq!(event["cause"], "exit status: 2", "{event}");
    assert!(event["restarts"].as_u64().unwrap() >= 2, "{event}");
    pgsvid.current(0);
}

#[test]
fn x08_what_keeps_the_first_daemon_from_its_work_ends_the_parent_with_its_status() {
    let setup = Setup::new(PGSVID);
    setup.configure("nonsense = true\n");
    assert_eq!(setup.spawn().wait_exit(LIMIT).code(), Some(2));
    setup.configure("");
    let _first = setup.start();
    assert_eq!(setup.spawn().wait_exit(LIMIT).code(), Some(1));
}

#[test]
fn x08_a_daemon_does_not_outlive_its_parent_and_the_next_one_takes_over() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    kills_both(&pgsvid);
    let next = setup.spawn();
    next.current(0);
    assert!(next.events("daemon-restarted").is_empty());
}

/// The kernel forgets to tell of a parent's death where a process changes the group of its files.
#[test]
fn x08_a_daemon_of_root_with_files_group_does_not_outlive_its_parent() {
    let (root, setup) = (Account::current(), Setup::new(PGSVID));
    assert_eq!(root.uid(), 0, "this test needs root");
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    setup.configure(&format!("files.group = \"{}\"\n", setup.cluster.gid()));
    let pgsvid = setup.spawn_as(root, &[]);
    setup.wait_published();
    kills_both(&pgsvid);
}

/// Kills the parent while the daemon cannot do anything of its own accord.
#[track_caller]
fn kills_both(pgsvid: &Pgsvid) {
    let daemon = pgsvid.daemon();
    daemon.signal(Signal::STOP);
    Process(pgsvid.pid()).signal(Signal::KILL);
    eventually(LIMIT, "the daemon is gone", || !daemon.is_running());
}

#[test]
fn x09_signals_that_reach_both_are_heard_once() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let both = |signal| {
        for process in [pgsvid.daemon(), Process(pgsvid.pid())] {
            process.signal(signal);
        }
    };
    let mark = pgsvid.mark();
    both(Signal::HUP);
    pgsvid.event_after(mark, "rotated");
    both(Signal::TERM);
    assert!(pgsvid.wait_exit(LIMIT).success());
    for event in ["asked-again", "ending"] {
        assert_eq!(pgsvid.events(event).len(), 1, "{event}");
    }
    assert!(pgsvid.events("daemon-restarted").is_empty());
}

#[test]
fn x09_asked_to_end_before_the_daemon_listens_both_end() {
    let setup = Setup::new(PGSVID);
    for signal in [Signal::TERM, Signal::INT] {
        let pgsvid = setup.spawn();
        // As early as it gets.
        eventually(LIMIT, "the parent runs", || {
            fs::read_to_string(format!("/proc/{}/status", pgsvid.pid()))
                .is_ok_and(|status| status.contains("SigBlk:\t0000000000014003"))
        });
        pgsvid.signal(signal);
        assert!(pgsvid.wait_exit(LIMIT).success(), "{signal:?}");
        assert!(!pgsvid.process().is_running());
    }
}

#[test]
fn x09_a_daemon_that_does_not_turn_ends_by_the_second_signal() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let daemon = pgsvid.daemon();
    daemon.signal(Signal::STOP);
    pgsvid.signal(Signal::TERM);
    pgsvid.signal(Signal::INT);
    assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1));
    assert!(!daemon.is_running());
}

#[test]
fn x09_asked_to_end_while_there_is_no_daemon_it_ends() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    // The pauses grow.
    for _ in 0..3 {
        kill(&pgsvid, Signal::KILL);
    }
    pgsvid.daemon().signal(Signal::KILL);
    pgsvid.signal(Signal::TERM);
    let status = pgsvid.wait_exit(LIMIT);
    // Killed before or after it was asked for, as the kernel has it.
    assert!([Some(0), Some(1)].contains(&status.code()), "{status}");
}

/// As in a container without an init: whatever loses its parent there is given to process 1.
#[test]
fn x08_as_the_first_process_it_reaps_and_starts_again_and_ends_when_asked() {
    let setup = Setup::new(PGSVID);
    let pgsvid = Program::reachable(PGSVID).display().to_string();
    let mut arguments: Vec<String> =
        ["--pid", "--fork", "--kill-child", "--mount-proc", "--"].map(str::to_owned).into();
    let server = Account::server();
    let as_server = [
        "/usr/bin/setpriv",
        &format!("--reuid={}", server.uid()),
        &format!("--regid={}", setup.cluster.gid()),
        "--clear-groups",
        "--",
        &pgsvid,
        "run",
    ];
    arguments.extend(as_server.map(str::to_owned));
    arguments.extend(setup.arguments());
    let unshare = Program::spawn_as(Account::current(), "/usr/bin/unshare", arguments, &[]);
    setup.wait_published();
    setup.cluster.start();
    unshare.wait_for_event(LIMIT, |event| event["event"] == "rotated");
    let first = Process(unshare.pid()).children().pop().unwrap();
    let daemon = first.same_children().pop().unwrap();

    // A process whose parent ends before it.
    let orphan = "sleep 0.2 & exec true";
    let target = first.0.to_string();
    let status = Command::new("nsenter")
        .args(["--target", &target, "--pid", "--", "/bin/sh", "-c", orphan])
        .status();
    assert!(status.unwrap().success());
    eventually(LIMIT, "the orphan is given to it", || first.children().len() == 2);
    eventually(LIMIT, "the orphan is reaped", || first.children().len() == 1);
    assert_eq!(first.same_children().pop().map(|found| found.0), Some(daemon.0));

    daemon.signal(Signal::KILL);
    unshare.wait_for_event(LIMIT, |event| event["event"] == "daemon-restarted");
    first.signal(Signal::TERM);
    assert!(unshare.wait_exit(LIMIT).success());
    let is_ending = |line: &String| line.contains("\"ending\"");
    assert_eq!(unshare.lines().iter().filter(|line| is_ending(line)).count(), 1);
}

#[test]
fn the_parent_sleeps() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    pgsvid.event_after(Mark::default(), "rotated");
    let parent = Process(pgsvid.pid());
    let seconds = std::env::var("PARENT_SECONDS").map_or(2, |text| text.parse().unwrap());
    let before = parent.work();
    std::thread::sleep(Duration::from_secs(seconds));
    let work = parent.work().since(before);
    assert_eq!(work.sleeps, 0, "{work:?}");
    assert_eq!(parent.threads().len(), 1);
}
