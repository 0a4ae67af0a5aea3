//! A01: the owner of a database plants functions, operators, casts, types and relations where our sessions could find them,
//! and sets whatever an owner may. Nothing of it runs with a superuser's rights, and no command answers differently.

use std::path::PathBuf;

use serde_json::Value;
use test_support::{Account, LIMIT, Program, Setup, eventually};

use crate::attacks::PGSVID;

/// What the owner of a database may set for it, and somebody careless for a role. One that this version lacks, or refuses, is
/// passed over.
const HOSTILE: [(&str, &str); 31] = [
    ("role", "'owner'"),
    ("session_authorization", "'owner'"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("transaction_read_only", "on"),
    ("statement_timeout", "1"),
    ("lock_timeout", "1"),
    ("idle_in_transaction_session_timeout", "1"),
    ("idle_session_timeout", "1"),
    ("transaction_timeout", "50"),
    ("local_preload_libraries", "'evil'"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "on"),
    ("escape_string_warning", "on"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
    ("quote_all_identifiers", "on"),
    ("bytea_output", "escape"),
    ("DateStyle", "'SQL, DMY'"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "'Antarctica/Troll'"),
    ("extra_float_digits", "-15"),
    ("client_min_messages", "debug5"),
    ("client_encoding", "'EUC_JP'"),
    ("exit_on_error", "on"),
    ("jit_above_cost", "0"),
    ("row_security", "off"),
    ("force_parallel_mode", "on"),
    ("debug_parallel_query", "on"),
    ("work_mem", "64"),
];

/// A server with a database `planted`, and another that nobody has touched.
struct Planted {
    setup: Setup,
    /// Only a superuser who was led astray can have written it.
    evidence: PathBuf,
}

impl Planted {
    fn new() -> Self {
        let setup = Setup::new(PGSVID);
        setup.configure(&format!("[postgres]\nos_user = '{}'", Account::server().name()));
        let arguments = setup.arguments();
        let fetched = Program::spawn(
            PGSVID,
            ["fetch"].into_iter().chain(arguments[..6].iter().map(String::as_str)),
            &[],
        );
        assert!(fetched.wait_exit(LIMIT).success());
        setup.cluster.start();
        setup.cluster.set_hba("local all owner peer map=owner\nlocal all all peer");
        setup.cluster.set_ident(&format!("owner {} owner", Account::server().name()));
        setup.cluster.sighup();
        let server = |statement: &str| setup.cluster.sql("postgres", "template1", statement);
        for statement in [
            "CREATE ROLE owner LOGIN",
            "CREATE DATABASE planted OWNER owner",
            "CREATE DATABASE clean",
        ] {
            server(statement);
        }
        let evidence = setup.cluster.data_directory().join("evidence");
        eventually(LIMIT, "the owner is let in", || {
            setup.cluster.try_sql("owner", "planted", "SELECT 1").is_ok()
        });
        let script =
            include_str!("plant.sql").replace(":'evidence'", &format!("'{}'", evidence.display()));
        setup.cluster.sql("owner", "planted", &script);
        let planted = setup.cluster.sql("owner", "planted", "SELECT count(*) > 3000 FROM pg_proc WHERE pronamespace IN ('evil'::regnamespace, 'public'::regnamespace)");
        assert_eq!(planted, "t", "too little was planted");
        let planted = Self { setup, evidence };
        planted.set("search_path", "evil, public, pg_catalog");
        planted
    }

    /// Sets something for the database by its owner, and for the superuser there by another one.
    fn set(&self, name: &str, value: &str) {
        let set = format!("SET {name} = {value}");
        let cluster = &self.setup.cluster;
        for (user, whose) in
            [("owner", "DATABASE planted"), ("postgres", "ROLE postgres IN DATABASE planted")]
        {
            // This version may lack it, or refuse it.
            let _ = cluster.try_sql(user, "template1", &format!("ALTER {whose} {set}"));
        }
    }

    /// Whether a command has succeeded, and what it says.
    fn run(&self, command: &[&str], database: &str) -> (bool, String) {
        self.run_with(command, database, &[])
    }

    fn run_with(
        &self,
        command: &[&str],
        database: &str,
        variables: &[(&str, &str)],
    ) -> (bool, String) {
        let arguments = self.setup.arguments();
        let usual = arguments[..arguments.len() - 2].iter().map(String::as_str);
        // `setup` asks no agent.
        let usual: Vec<&str> = if command[0] == "setup" {
            usual.clone().take(2).chain(usual.skip(4)).collect()
        } else {
            usual.collect()
        };
        let all = command.iter().copied().chain(usual).chain(["--database", database]);
        let program = Program::spawn(PGSVID, all, variables);
        let status = program.wait_exit(LIMIT);
        let said = program.standard_output();
        // `check` ends with 1 for what it finds, and its report is whole.
        let whole = status.success() || command[0] == "check";
        (status.success(), if whole { said } else { said + &program.standard_error() })
    }

    /// Runs each command that logs in as a superuser.
    #[track_caller]
    fn assert_every_command_is_as_elsewhere(&self) {
        let check = ["check", "--user", "postgres", "--format", "json"];
        let (_, seen) = self.run(&check, "planted");
        self.assert_nothing_ran("check");
        assert_eq!(findings(&seen), findings(&self.run(&check, "clean").1));

        for command in [
            &["setup", "apply", "--hba", "--dry-run"][..],
            &["setup", "apply", "--hba", "--yes"],
            &["setup", "apply", "--hba", "--yes"],
            &["setup", "revert", "--yes"],
        ] {
            let (success, said) = self.run(command, "planted");
            assert!(success, "{command:?}: {said}");
            self.assert_nothing_ran(&format!("{command:?}"));
        }

        let pgsvid = self.setup.spawn_with(&["--user", "postgres", "--database", "planted"]);
        pgsvid.current(0);
        self.setup.agent.rotate().unwrap();
        pgsvid.current(1);
        self.assert_nothing_ran("run");
    }

    #[track_caller]
    fn assert_nothing_ran(&self, after: &str) {
        assert!(!self.evidence.exists(), "planted code ran as a superuser: {after}");
    }
}

/// What `check` finds: groups, levels and texts, without what differs from run to run.
fn findings(json: &str) -> Value {
    let mut report = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    strip(&mut report);
    report
}

fn strip(value: &mut Value) {
    match value {
        Value::String(text) => {
            *text = text.replace("planted", "DB").replace("clean", "DB");
            if [" ms", " left", " in "].iter().any(|varies| text.contains(varies)) {
                text.clear();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(fields) => fields.values_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn a01_what_the_owner_of_a_database_plants_does_not_run_as_a_superuser() {
    let planted = Planted::new();
    // What is looked for would be seen.
    let cluster = &planted.setup.cluster;
    cluster.sql(
        "postgres",
        "clean",
        &format!("COPY (SELECT 1) TO '{}'", planted.evidence.display()),
    );
    assert!(planted.evidence.exists());
    std::fs::remove_file(&planted.evidence).unwrap();
    planted.assert_every_command_is_as_elsewhere();
}

#[test]
fn a01_no_setting_of_a_database_or_a_role_turns_a_session_against_us() {
    let planted = Planted::new();
    for (name, value) in HOSTILE {
        planted.set(name, value);
    }
    planted.assert_every_command_is_as_elsewhere();
}

/// The script of `setup sql` is for psql, whose session has the database's settings.
#[test]
fn a01_the_printed_script_runs_nothing_that_was_planted() {
    let planted = Planted::new();
    let (success, script) = planted.run(&["setup", "sql"], "planted");
    assert!(success, "{script}");
    let cluster = &planted.setup.cluster;
    let done = cluster.psql().user("postgres").database("planted").script(&script).run();
    assert!(done.status.success(), "{}", done.stderr);
    planted.assert_nothing_ran("setup sql");
}

/// Before PostgreSQL 17 the triggers that are enabled for replicas, too, cannot be turned off for a session.
#[test]
fn a01_event_triggers_do_not_run_as_a_superuser() {
    let planted = Planted::new();
    let cluster = &planted.setup.cluster;
    let events: &[&str] = if cluster.version() >= 17 {
        &["ddl_command_start", "ddl_command_end", "login"]
    } else {
        &["ddl_command_start", "ddl_command_end"]
    };
    for event in events {
        cluster.sql(
            "postgres",
            "planted",
            &format!("CREATE EVENT TRIGGER on_{event} ON {event} EXECUTE FUNCTION evil.on_event()"),
        );
    }
    // Making the second one has set off the first.
    let _ = std::fs::remove_file(&planted.evidence);
    cluster.sql("postgres", "postgres", "DROP OWNED BY pgsvid; DROP ROLE pgsvid");
    assert!(planted.run(&["check", "--user", "postgres"], "planted").1.contains("planted"));
    planted.assert_nothing_ran("check");
    let (success, said) = planted.run(&["setup", "apply", "--yes"], "planted");
    assert!(success, "{said}");
    planted.assert_nothing_ran("setup apply");
    let (success, said) = planted.run(&["setup", "revert", "--yes"], "planted");
    assert!(success, "{said}");
    planted.assert_nothing_ran("setup revert");

    cluster.sql("postgres", "planted", "ALTER EVENT TRIGGER on_ddl_command_end ENABLE ALWAYS");
    let _ = std::fs::remove_file(&planted.evidence);
    let (success, said) = planted.run(&["setup", "apply", "--yes"], "planted");
    assert_eq!(success, cluster.version() >= 17, "{said}");
    planted.assert_nothing_ran("setup apply");
    // What was done before is taken back: no trigger runs for that.
    let (success, said) = planted.run(&["setup", "revert", "--yes"], "planted");
    assert!(success, "{said}");
    planted.assert_nothing_ran("setup revert");
}

/// However the role was named: by a flag, a variable, or the file.
#[test]
fn a01_no_login_trigger_runs_for_any_name_of_the_superuser() {
    let planted = Planted::new();
    let cluster = &planted.setup.cluster;
    if cluster.version() < 17 {
        // There are none.
        return;
    }
    cluster.sql(
        "postgres",
        "planted",
        "CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION evil.on_event()",
    );
    let _ = std::fs::remove_file(&planted.evidence);
    for variable in ["PGSVID_USER", "PGUSER"] {
        planted.run_with(&["check"], "planted", &[(variable, "postgres")]);
        planted.assert_nothing_ran(variable);
    }
    planted.setup.configure("[postgres]\nuser = 'postgres'");
    planted.run(&["check"], "planted");
    planted.assert_nothing_ran("check by the file");
    let pgsvid = planted.setup.spawn_with(&["--database", "planted"]);
    pgsvid.current(0);
    planted.assert_nothing_ran("run by the file");
}

/// A role's name need not be UTF-8, nor a line of `pg_hba.conf`: anybody who may make roles can make such a one.
#[test]
fn a01_names_in_another_encoding_end_no_command() {
    let planted = Planted::new();
    let cluster = &planted.setup.cluster;
    cluster.sql(
        "postgres",
        "template1",
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    cluster.sql("postgres", "latin", "SET client_encoding = 'UTF8'; CREATE ROLE \"caf\u{e9}\"");
    let stored = "SELECT count(*) FROM pg_roles WHERE rolname::bytea = '\\x636166e9'";
    assert_eq!(cluster.sql("postgres", "latin", stored), "1");
    for command in [
        &["check", "--user", "postgres", "--format", "json"][..],
        &["setup", "apply", "--dry-run"],
        &["setup", "revert", "--yes"],
    ] {
        let (_, said) = planted.run(command, "clean");
        assert!(!said.contains("panicked"), "{command:?}: {said}");
    }
    let checked = planted.run(&["check", "--user", "postgres", "--format", "json"], "clean").1;
    let report: Value = serde_json::from_str(&checked).unwrap();
    assert!(report["sections"].as_array().is_some_and(|sections| sections.len() > 3), "{checked}");
}
