//! A34: `setup apply` is killed between two of its steps.
//!
//! strace sends SIGKILL as it enters a system call, for the first, second, … call of each kind until a run survives.

use std::os::unix::process::ExitStatusExt as _;

use test_support::{LIMIT, Strace, eventually};

use crate::setup::{PGSVID, Setup, admin, arguments, bare, configure, publish, run, state};

/// What it talks to the server by, and what makes a change on disk durable.
const CALLS: [&str; 3] = ["sendto", "renameat", "unlinkat"];
/// No set-up has so many calls of one kind.
const MOST: u32 = 200;

fn apply_killed_at(setup: &Setup, call: &str, nth: u32) -> bool {
    let arguments = arguments(setup, &["apply", "--hba", "--yes"]);
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
