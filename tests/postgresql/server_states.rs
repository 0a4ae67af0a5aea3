//! PostgreSQL in every state in which it can be asked to reload, and in those in which it cannot.

use std::fs;

use serde_json::Value;
use test_support::{
    Account, Installation, LIMIT, Mark, Mode, Pgsvid, Program, Setup, Signal, eventually,
};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn p02_in_recovery_the_reload_is_pending_and_the_probe_completes_what_a_start_has_loaded() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    setup.cluster.stop(Mode::Fast);
    // A standby that serves nobody: every login is answered by 57P03 until it is promoted.
    setup.cluster.set_conf("hot_standby = off");
    put(&setup, "standby.signal");
    setup.agent.rotate().unwrap();
    let newest = setup.agent.svid().chain_pem();
    eventually(LIMIT, "the newest SVID is published", || {
        fs::read_to_string(setup.files.join("svid.pem")).unwrap() == newest
    });
    setup.cluster.start();
    let event = pgsvid.current(2);
    assert!(event["without_reload"].as_str().unwrap().contains("57P03"), "{event}");
    assert_served(&setup);

    let before = setup.agent.svid();
    setup.agent.rotate().unwrap();
    let (pending, _) = pending(&pgsvid, Mark::default(), "57P03");
    assert_eq!((&pending["generation"], &pending["level"]), (&3.into(), &"INFO".into()));
    assert_eq!(setup.cluster.served().leaf, before.leaf());
    promote(&setup);
    let event = pgsvid.current(3);
    assert!(event.get("without_reload").is_none(), "{event}");
    assert_served(&setup);
}

#[test]
fn p01_a_busy_socket_directory_is_no_reason_to_try_without_end() {
    let setup = Setup::new(PGSVID);
    setup.configure("[log]\nlevel = 'debug'");
    let pgsvid = setup.spawn();
    setup.wait_published();
    let file = setup.cluster.socket_directory().join("busy");
    for _ in 0..100 {
        drop(fs::File::create(&file).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    let lines = pgsvid.lines();
    let tries = lines.iter().filter(|line| line.contains("retrying in")).count();
    assert!((2..25).contains(&tries), "{tries} tries in three seconds");
    setup.cluster.start();
    pgsvid.current(1);
}

#[test]
fn p03_without_a_free_slot_the_reload_is_pending_and_somebody_elses_counts() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| {
            cluster.conf("max_connections = 6").conf("superuser_reserved_connections = 3")
        })
        .create();
    let pgsvid = setup.start();
    let _sessions = [1, 2, 3].map(|_| session(&setup));
    let count = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'";
    eventually(LIMIT, "the sessions are there", || {
        setup.cluster.sql("postgres", "postgres", count) == "3"
    });

    setup.agent.rotate().unwrap();
    let (waiting, mark) = pending(&pgsvid, Mark::default(), "53300");
    assert_eq!((&waiting["verdict"], &waiting["level"]), (&"still-old".into(), &"INFO".into()));
    // The probe needs no slot.
    setup.cluster.sighup();
    let event = pgsvid.current(2);
    assert!(event["without_reload"].as_str().unwrap().contains("53300"), "{event}");
    assert_served(&setup);

    setup.agent.rotate().unwrap();
    pending(&pgsvid, mark, "53300");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE query ~ '^SELECT pg_sleep'";
    setup.cluster.sql("postgres", "postgres", end);
    let event = pgsvid.current(3);
    assert!(event["reload_ms"].is_number(), "{event}");
    assert_served(&setup);
}

#[test]
fn p03_what_a_probe_cannot_tell_from_the_set_before_waits_for_its_reload() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let limit = |limit: u32| {
        let statement = format!("ALTER ROLE pgsvid CONNECTION LIMIT {limit}");
        setup.cluster.sql("postgres", "postgres", &statement);
    };
    limit(0);
    let mark = setup.cluster.log_mark();
    // The same leaf and the same names of authorities, as when an authority has a new key under its old name.
    pgsvid.signal(Signal::HUP);
    let (waiting, _) = pending(&pgsvid, Mark::default(), "53300");
    assert_eq!((&waiting["generation"], &waiting["verdict"]), (&2.into(), &"current".into()));
    limit(3);
    let event = pgsvid.current(2);
    assert!(event["reload_ms"].is_number(), "{event}");
    setup.cluster.wait_for_log(mark, LIMIT, "received SIGHUP");
}

#[test]
fn p12_without_a_tcp_listener_nothing_can_be_verified_and_that_is_reported() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.conf("listen_addresses = ''"));
    let setup = setup.create();
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    let warning = pgsvid.event("no-tcp-listener");
    assert!(warning["fix"].as_str().unwrap().contains("listen_addresses"), "{warning}");
    assert_eq!(pgsvid.rotated(1)["verdict"], "unverifiable");
    let mark = setup.cluster.log_mark();
    setup.agent.rotate().unwrap();
    let event = pgsvid.rotated(2);
    assert_eq!(event["verdict"], "unverifiable");
    assert!(event["reload_ms"].is_number(), "{event}");
    setup.cluster.wait_for_log(mark, LIMIT, "received SIGHUP");
}

#[test]
fn with_verify_none_nobody_connects_over_tcp() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.conf("log_connections = on"));
    let setup = setup.create();
    let pgsvid = setup.spawn_with(&["--verify", "none"]);
    setup.wait_published();
    setup.cluster.start();
    for generation in 1..=3 {
        let event = pgsvid.rotated(generation);
        assert_eq!(event["verdict"], "unverifiable");
        assert!(event["reload_ms"].is_number(), "{event}");
        setup.agent.rotate().unwrap();
    }
    let log = setup.cluster.log();
    assert!(log.contains("connection received: host=[local]"), "{log}");
    assert!(!log.contains("connection received: host=127.0.0.1"), "{log}");
}

#[test]
fn p14_an_empty_ca_setting_is_warned_of_and_hinders_nothing() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.conf("ssl_ca_file = ''")).create();
    let pgsvid = setup.start();
    let warning = concern(&pgsvid, Mark::default()).0;
    let cause = warning["cause"].as_str().unwrap();
    assert!(cause.starts_with("ssl_ca_file is empty"), "{warning}");
    let bundle = setup.files.join("svid_bundle.pem").display().to_string();
    assert!(warning["fix"].as_str().unwrap().contains(&bundle), "{warning}");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    // No names are asked for, so there are none to compare.
    setup.agent.prepare_root().unwrap();
    pgsvid.current(3);
    assert_eq!(pgsvid.events(CONCERN).len(), 1);
}

#[test]
fn p18_a_hot_standby_is_reloaded_and_so_is_the_primary_that_it_becomes() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    setup.cluster.stop(Mode::Fast);
    put(&setup, "standby.signal");
    setup.cluster.start();
    setup.cluster.wait_for_log(0, LIMIT, "ready to accept read-only connections");
    for (generation, standby) in [(2, "t"), (3, "f")] {
        setup.agent.rotate().unwrap();
        let event = pgsvid.current(generation);
        assert!(event["reload_ms"].is_number(), "{event}");
        assert_served(&setup);
        let in_recovery = "SELECT pg_is_in_recovery()";
        assert_eq!(setup.cluster.sql("postgres", "postgres", in_recovery), standby);
        if standby == "t" {
            promote(&setup);
            eventually(LIMIT, "the standby is promoted", || {
                setup.cluster.sql("postgres", "postgres", in_recovery) == "f"
            });
        }
    }
}

#[test]
fn p19_errors_in_other_files_do_not_keep_the_certificate_from_being_loaded() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mark = setup.cluster.log_mark();
    setup.cluster.set_hba("nobody may read this");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    assert_served(&setup);
    setup.cluster.wait_for_log(mark, LIMIT, "pg_hba.conf was not reloaded");

    setup.cluster.set_conf("no_such_parameter = on");
    setup.agent.rotate().unwrap();
    pgsvid.current(3);
    assert_served(&setup);
    setup.cluster.wait_for_log(mark, LIMIT, "contains errors");
}

#[test]
fn p19_a_role_that_may_read_the_errors_reports_them() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.spawn_with(&["--user", "postgres"]);
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    setup.cluster.set_conf("no_such_parameter = on");
    setup.cluster.set_hba("nobody may read this");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    // They are asked for once the rotation is proven.
    let errors = || pgsvid.events("postgresql-files-error");
    eventually(LIMIT, "both are told", || errors().len() == 2);
    let causes: Vec<String> =
        errors().iter().map(|event| event["cause"].as_str().unwrap().to_owned()).collect();
    for (file, wanted) in
        [("postgresql.conf:", "no_such_parameter"), ("pg_hba.conf:", "invalid connection type")]
    {
        let named = |cause: &&String| cause.contains(file) && cause.contains(wanted);
        assert!(causes.iter().find(named).is_some(), "{wanted}: {causes:?}");
    }
    // The same errors are no news at the next rotation, which has asked by the time that another has come to its end.
    for generation in 3..=4 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
    }
    assert_eq!(errors().len(), 2);
}

/// For the three settings the published files are where their readers see them.
#[test]
fn p26_readers_who_mount_the_directory_elsewhere_get_their_own_paths() {
    let setup = Setup::new(PGSVID);
    let seen_as = setup.other.join("certs");
    std::os::unix::fs::symlink(setup.files.path(), &seen_as).unwrap();
    let seen_as = seen_as.display().to_string();
    setup.configure(&format!(
        "[files]\nseen_as = '{seen_as}'\n\
         [files.service]\nname = 'db'\noptions = {{ host = 'localhost' }}"
    ));
    let service = || fs::read_to_string(setup.files.join("pg_service.conf")).unwrap();
    setup.cluster.set_conf(&format!(
        "ssl_cert_file = '{seen_as}/svid.pem'\n\
         ssl_key_file = '{seen_as}/svid_key.pem'\n\
         ssl_ca_file = ''"
    ));
    let pgsvid = setup.start();
    // Two of three are right, and the third is to become what its reader can open.
    let warning = concern(&pgsvid, Mark::default()).0;
    assert!(warning["cause"].as_str().unwrap().starts_with("ssl_ca_file is empty"), "{warning}");
    let fix = format!("ssl_ca_file = '{seen_as}/svid_bundle.pem'");
    assert!(warning["fix"].as_str().unwrap().contains(&fix), "{warning}");
    let generation = fs::read_link(setup.files.join("..data")).unwrap();
    let named = format!("sslcert={seen_as}/{}/svid.pem", generation.display());
    assert!(service().contains(&named), "{}", service());
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    assert_served(&setup);
}

#[test]
fn p26_a_setting_on_the_command_line_is_named_as_what_overrides() {
    let setup =
        Setup::builder(PGSVID).cluster(|cluster| cluster.arg("-c", "ssl_ca_file=")).create();
    let pgsvid = setup.start();
    let warning = concern(&pgsvid, Mark::default()).0;
    let cause = warning["cause"].as_str().unwrap();
    assert!(cause.starts_with("ssl_ca_file is empty") && cause.contains("(-c)"), "{warning}");
    let fix = format!("-c ssl_ca_file={}/svid_bundle.pem", setup.files);
    assert!(warning["fix"].as_str().unwrap().contains(&fix), "{warning}");
}

#[test]
fn p26_alter_system_is_named_where_the_role_may_see_it() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mark = pgsvid.mark();
    setup.cluster.sql("postgres", "postgres", "ALTER SYSTEM SET ssl_ca_file = ''");
    // It becomes known at the first rotation after the server has read it.
    setup.cluster.sighup();
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    setup.agent.rotate().unwrap();
    pgsvid.current(3);
    let (warning, mark) = concern(&pgsvid, mark);
    // PostgreSQL tells a plain role that some file says so, but not which: the remedy has to do for both.
    let cause = warning["cause"].as_str().unwrap();
    assert!(cause.starts_with("ssl_ca_file is empty") && !cause.contains("set by"), "{warning}");
    assert!(
        warning["command"].as_str().unwrap().contains("ALTER SYSTEM SET ssl_ca_file"),
        "{warning}"
    );

    setup.cluster.sql("postgres", "postgres", "GRANT pg_read_all_settings TO pgsvid");
    setup.agent.rotate().unwrap();
    let (warning, _) = concern(&pgsvid, mark);
    let cause = warning["cause"].as_str().unwrap();
    assert!(cause.contains("set by ALTER SYSTEM (postgresql.auto.conf)"), "{warning}");
    // The remedy works as it stands.
    let script = ["-c", warning["command"].as_str().unwrap()];
    let shell = Program::spawn_as(Account::server(), "/bin/bash", script, &[]);
    assert!(shell.wait_exit(LIMIT).success(), "{warning}");
    setup.agent.rotate().unwrap();
    pgsvid.current(5);
    let show = setup.cluster.sql("postgres", "postgres", "SHOW ssl_ca_file");
    assert_eq!(show, setup.files.join("svid_bundle.pem").display().to_string());
}

const CONCERN: &str = "settings-lead-elsewhere";

fn concern(pgsvid: &Pgsvid, mark: Mark) -> (Value, Mark) {
    pgsvid.event_after(mark, CONCERN)
}

/// Waits until a reload is pending because of this SQLSTATE.
#[track_caller]
fn pending(pgsvid: &Pgsvid, mark: Mark, sqlstate: &str) -> (Value, Mark) {
    pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        let message = event["message"].as_str().unwrap_or_default();
        message.starts_with("published; the reload is pending: ") && message.contains(sqlstate)
    })
}

/// As `pg_ctl promote` does it.
fn promote(setup: &Setup) {
    put(setup, "promote");
    setup.cluster.signal(Signal::USR1);
}

/// An empty file in the data directory: its name alone says something.
fn put(setup: &Setup, name: &str) {
    fs::File::create_new(setup.cluster.data_directory().join(name)).unwrap();
}

/// A session that holds its slot until the server ends it.
fn session(setup: &Setup) -> Program {
    let host = setup.cluster.socket_directory().display().to_string();
    let port = setup.cluster.port().to_string();
    let arguments =
        ["-X", "-h", &host, "-p", &port, "-U", "postgres", "-c", "SELECT pg_sleep(3600)"];
    Program::spawn(Installation::found().program("psql"), arguments, &[])
}

#[track_caller]
fn assert_served(setup: &Setup) {
    assert_eq!(setup.cluster.served().leaf, setup.agent.svid().leaf());
}

#[test]
fn p27_a_server_that_is_stopped_or_started_again_is_noticed_without_another_set() {
    let setup = Setup::new(PGSVID);
    let socket = setup.other.join("status.sock");
    setup.configure(&format!("[health]\nlisten = 'unix:{}'", socket.display()));
    let pgsvid = setup.start();
    let verdict = || {
        let socket = format!("unix:{}", socket.display());
        let arguments = ["status", "--format", "json", "--socket", &socket];
        let program = Program::spawn(PGSVID, arguments, &[]);
        program.wait_exit(LIMIT);
        let status: Value = serde_json::from_str(&program.standard_output()).unwrap_or_default();
        status["consumers"][0]["verdict"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(verdict(), "current");
    setup.cluster.stop(Mode::Fast);
    // Long before the next check is due.
    eventually(LIMIT, "it is down", || verdict() == "unreachable");
    setup.cluster.set_conf("ssl = off");
    setup.cluster.start();
    eventually(LIMIT, "it is back without TLS", || verdict() == "plaintext");
    setup.cluster.set_conf("ssl = on");
    setup.cluster.restart();
    eventually(LIMIT, "it serves the set again", || verdict() == "current");
    assert!(pgsvid.events("asked-again").is_empty());
}
