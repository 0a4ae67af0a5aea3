//! N16 to N18: setup accepts the flags of `run`, shows everything before it does it, and prints what must run afterwards.

use test_support::{Account, LIMIT, Program, Setup};

use crate::setup::{PGSVID, admin, bare, configure, publish, state};

fn with_flags_of_run(setup: &Setup, what: &[&str]) -> (i32, String, String) {
    let flags = setup.arguments();
    let all = what.iter().copied().chain(flags.iter().map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    let status = program.wait_exit(LIMIT).code().unwrap();
    (status, program.standard_output(), program.standard_error())
}

#[test]
fn n16_setup_takes_the_flags_of_run() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    for what in [
        &["setup", "all"][..],
        &["setup", "sql"],
        &["setup", "apply", "--dry-run"],
        &["setup", "revert", "--dry-run"],
    ] {
        let (status, _, error) = with_flags_of_run(&setup, what);
        assert_eq!(status, 0, "{what:?}: {error}");
    }
}

/// The dry run, the plan and the work say the same statements in the same order.
#[test]
fn n18_a_dry_run_shows_every_statement_that_is_executed() {
    for own_tls in [false, true] {
        let setup = bare();
        configure(&setup, "", "");
        publish(&setup);
        if own_tls {
            crate::setup::serve_own_files(&setup);
        }
        setup.cluster.start();
        let shown = with_flags_of_run(&setup, &["setup", "apply", "--dry-run"]).1;
        let statements = |text: &str, words: &[&str]| -> Vec<String> {
            let lines = text.lines().filter_map(|line| {
                let (word, statement) = line.trim_start().split_once(' ')?;
                let is_one = words.contains(&word) && !statement.trim_start().starts_with("proven");
                is_one.then(|| statement.trim_start().split("   (").next().unwrap().to_owned())
            });
            lines.collect()
        };
        let planned = statements(&shown, &["sql", "setting"]);
        assert!(planned.contains(&"ALTER SYSTEM SET ssl = 'off'".to_owned()), "{shown}");
        let before = state(&setup);
        let (status, said, error) = with_flags_of_run(&setup, &["setup", "apply", "--yes"]);
        assert_eq!(status, 0, "{error}");
        assert_eq!(statements(&said, &["done"]), planned, "{said}");
        assert_ne!(state(&setup), before);
        // What is left to the administrator is said, and a command is one that works.
        let note = said.lines().find(|line| line.contains("listen_addresses = 127.0.0.1")).unwrap();
        let (_, command) = note.split_once("needs a restart: ").unwrap();
        let program = Program::spawn_as(Account::server(), "/bin/bash", ["-c", command], &[]);
        assert!(program.wait_exit(LIMIT).success(), "{command}: {}", program.standard_error());
        setup.cluster.restart();
        assert_eq!(admin(&setup.cluster, "SHOW listen_addresses"), "*");
        let again = with_flags_of_run(&setup, &["setup", "apply", "--yes"]).1;
        assert!(again.contains("nothing to do") && !again.contains("listen_addresses"), "{again}");
        assert!(
            again.contains("no line of pg_hba.conf lets a client in by its certificate"),
            "{again}"
        );
    }
}

#[test]
fn n17_at_its_end_apply_says_what_has_to_run_and_that_works() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let (_, said, _) = with_flags_of_run(&setup, &["setup", "apply", "--hba", "--yes"]);
    assert!(said.contains("`pgsvid run` must be running"), "{said}");
    let line = said.lines().find_map(|line| line.trim().strip_prefix("sudo -u ")).unwrap();
    let (user, command) = line.split_once(" pgsvid ").unwrap();
    assert_eq!(user, Account::server().name());
    let script = format!("exec {PGSVID} {command}");
    let pgsvid = Program::spawn_as(Account::server(), "/bin/bash", ["-c", &script], &[]);
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "rotated" && event["verdict"] == "current"
    });
    let (_, said, _) = with_flags_of_run(&setup, &["setup", "apply", "--hba", "--yes"]);
    assert!(said.contains("`pgsvid run` is running"), "{said}");
}
