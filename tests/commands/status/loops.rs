//! `/livez` when the loop is stuck.

use std::path::Path;

use test_support::{LIMIT, Program, Setup, Strace, WallClock, eventually};

use super::PGSVID;
use super::asked::Asked;

/// A disk that does not answer: the sync of a file is held up, and the clock of the process runs on.
#[test]
fn a_loop_that_stands_still_is_reported_and_a_slow_disk_raises_no_alarm() {
    let setup = Setup::new(PGSVID);
    // The library that makes the clock reads a file of its own.
    let status = Asked::configure(&setup, "[sandbox]\nenabled = false\n");
    let clock = WallClock::new();
    let variables = clock.variables();
    let variables = variables.each_ref().map(|(name, value)| match *name {
        // The timers' clock, too.
        "FAKETIME_DONT_FAKE_MONOTONIC" => (*name, "0"),
        _ => (*name, value.as_str()),
    });
    let arguments = ["run".to_owned()].into_iter().chain(setup.arguments());
    let pgsvid = Program::spawn(Path::new(PGSVID), arguments, &variables);
    setup.wait_published();
    eventually(LIMIT, "it waits for PostgreSQL", || {
        status.target()["published"]["generation"] == 1 && status.consumer()["retry"].is_string()
    });
    assert_eq!(status.get("/livez"), (200, "alive\n".to_owned()));

    let disk = Strace::attach(pgsvid.daemon_pid(), "fsync:delay_enter=600s");
    setup.agent.rotate().unwrap();
    let generations = || {
        let names =
            std::fs::read_dir(setup.files.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("..v")).count()
    };
    eventually(LIMIT, "the next generation is being written", || generations() == 2);
    for (minutes, code) in [(3, 200), (9, 200), (12, 503)] {
        clock.set(minutes * 60);
        let (found, text) = status.get("/livez");
        assert_eq!(found, code, "after {minutes} minutes: {text}");
        let wanted = if code == 200 { "alive" } else { "stuck while writing files" };
        assert!(text.contains(wanted), "{text}");
        assert_eq!(status.target()["published"]["generation"], 1);
    }
    // The disk answers, and everything goes on.
    drop(disk);
    eventually(LIMIT, "the loop turns again", || {
        status.get("/livez").0 == 200 && status.target()["published"]["generation"] == 2
    });
}
