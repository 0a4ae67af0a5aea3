//! A34, A51: `setup apply` or `revert` is killed between two of its steps.
//!
//! strace sends SIGKILL as it enters a system call, for the first, second, … call of each kind until a run survives.

use std::os::unix::process::ExitStatusExt as _;

use test_support::{LIMIT, Strace, eventually};

use crate::setup::{
    PGSVID, Setup, admin, arguments, bare, configure, publish, run, serve_own_files, state,
};

/// What it talks to the server by, and what makes a change on disk durable.
const CALLS: [&str; 3] = ["sendto", "renameat", "unlinkat"];
/// No set-up has so many calls of one kind.
const MOST: u32 = 200;

fn apply_killed_at(setup: &Setup, call: &str, nth: u32) -> bool {
    killed_at(setup, &["apply", "--hba", "--yes"], call, nth)
}

fn killed_at(setup: &Setup, what: &[&str], call: &str, nth: u32) -> bool {
    let arguments = arguments(setup, what);
    let program = Strace::around(PGSVID, &arguments, &format!("{call}:signal=KILL:when={nth}"));
    let status = program.wait_exit(LIMIT);
    assert!(
        status.success() || status.signal() == Some(9),
        "{status} {}",
        program.standard_error()
    );
    status.signal() == Some(9)
}

/// The sessions of what was killed: the server ends each when it has noticed.
fn wait_alone(setup: &Setup) {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgsvid'";
    eventually(LIMIT, "the sessions have ended", || admin(&setup.cluster, others) == "0");
}

#[test]
fn a34_killed_at_any_step_apply_is_taken_back_whole() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    let mut kills = 0;
    for call in CALLS {
        for nth in 1..=MOST {
            assert!(nth < MOST, "{call}");
            let killed = apply_killed_at(&setup, call, nth);
            wait_alone(&setup);
            let said = run(&setup, &["revert", "--yes"]).well();
            let after = state(&setup);
            let place = format!("killed at {call} {nth}: {said}");
            assert!(!said.contains("not known"), "{place}");
            // Of the files copies stay, and the list of who may call the function is written out.
            assert_eq!(after[..3], before[..3], "{place}");
            assert!(!after[3].contains("pgsvid-setup.json "), "{place}: {after:?}");
            assert!(!after[3].ends_with("pgsvid-setup.json"), "{place}: {after:?}");
            assert_eq!(after[4], before[4], "{place}");
            assert!(!after[5].contains("pgsvid"), "{place}: {after:?}");
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 30, "{kills}");
}

/// Whether a set-up that was killed had begun to alter settings.
fn was_altering(setup: &Setup) -> bool {
    let record = setup.cluster.data_directory().join("pgsvid-setup.json");
    std::fs::read_to_string(record).is_ok_and(|record| record.contains("\"altering\": true"))
}

/// Kills it at each message to the server, and goes on: another time with `apply`, which has to prove that TLS is on with the
/// published set, now and then after a restart in between; and then with `revert`.
#[track_caller]
fn kill_while_altering(setup: &Setup, what: &[&str]) {
    let before = state(setup);
    let is_on = |place: &str| {
        eventually(LIMIT, place, || admin(&setup.cluster, "SHOW ssl") == "on");
    };
    let mut kills = 0;
    for nth in 1..=MOST {
        assert!(nth < MOST);
        if what[0] == "revert" {
            run(setup, &["apply", "--yes"]).well();
        }
        let killed = killed_at(setup, what, "sendto", nth);
        wait_alone(setup);
        let place = format!("{what:?} killed at {nth}");
        if was_altering(setup) {
            kills += 1;
            if kills % 8 == 3 {
                setup.cluster.restart();
            }
            if kills % 2 == 0 {
                let said = run(setup, &["apply", "--yes"]).well();
                assert!(said.contains("proven: "), "{place}: {said}");
                is_on(&place);
            }
        }
        run(setup, &["revert", "--yes"]).well();
        let after = state(setup);
        assert_eq!(after[..3], before[..3], "{place}");
        is_on(&place);
        if !killed {
            break;
        }
    }
    assert!(kills > 8, "{kills}");
}

/// A server that speaks TLS with files of its own.
fn with_tls() -> Setup {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    serve_own_files(&setup);
    setup.cluster.start();
    setup
}

#[test]
fn a51_apply_that_is_killed_while_it_alters_settings_leaves_tls_off_for_nobody_who_goes_on() {
    kill_while_altering(&with_tls(), &["apply", "--yes"]);
}

#[test]
fn a51_revert_that_is_killed_while_it_alters_settings_leaves_tls_off_for_nobody_who_goes_on() {
    let setup = with_tls();
    admin(&setup.cluster, "ALTER SYSTEM SET ssl = on");
    kill_while_altering(&setup, &["revert", "--yes"]);
}
