//! P04, P05: a PostgreSQL that refuses pgsvid's login or its reload. Each is reported with its remedy, and doing exactly that
//! fixes it.

use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Mark, Pgsvid, Program, Setup, Signal};

const REFUSED: &str = "PostgreSQL cannot be asked to reload: ";
const REVOKE: &str = "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid";

#[test]
fn p04_a_missing_role_is_reported_with_the_sql_that_makes_it() {
    let (setup, pgsvid) = started();
    administrate(&setup, "DROP OWNED BY pgsvid; DROP ROLE pgsvid;");
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "message", &[REFUSED, "role \"pgsvid\" does not exist (SQLSTATE 28000)"]);
    assert_text(&alarm, "cause", &["there is no role pgsvid"]);
    run(&setup, &alarm);
    assert_current(&pgsvid, mark, 2);
}

/// PostgreSQL's words tell it from a missing role, and one command heals it.
#[test]
fn n05_a_role_without_login_is_reported_with_the_sql_that_lets_it_in() {
    let (setup, pgsvid) = started();
    administrate(&setup, "ALTER ROLE pgsvid NOLOGIN");
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "cause", &["role pgsvid may not log in (NOLOGIN)"]);
    assert!(!alarm.to_string().contains("CREATE ROLE"), "{alarm}");
    run(&setup, &alarm);
    pgsvid.signal(Signal::HUP);
    assert_current(&pgsvid, mark, 3);
}

/// Wrong order of lines, or a missing map: the words are the same, and so is the command that heals both.
#[test]
fn n05_a_refused_peer_is_reported_with_a_command_that_writes_the_lines() {
    let (setup, pgsvid) = started();
    setup.cluster.set_hba("local all all peer\nlocal postgres pgsvid peer map=pgsvid");
    setup.cluster.sighup();
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "cause", &["the line of pg_hba.conf that decides"]);
    assert!(!alarm.to_string().contains("CREATE ROLE"), "{alarm}");
    run(&setup, &alarm);
    assert_current(&pgsvid, mark, 2);
    setup.cluster.set_ident("other x y");
    setup.cluster.sighup();
    let (alarm, mark) = rotate(&setup, &pgsvid);
    run(&setup, &alarm);
    assert_current(&pgsvid, mark, 3);
}

/// Waiting might be enough, and is not where the limit is 0: cause and command are there from the first line on.
#[test]
fn n06_a_limit_of_connections_has_its_cause_in_the_log() {
    let (setup, pgsvid) = started();
    administrate(&setup, "ALTER ROLE pgsvid CONNECTION LIMIT 0");
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (event, mark) = pgsvid.event_after(mark, "reload-pending");
    assert_text(&event, "code", &["connection-slots"]);
    assert_text(&event, "cause", &["all connections of role pgsvid are in use"]);
    run(&setup, &event);
    assert_current(&pgsvid, mark, 2);
}

#[test]
fn p04_a_missing_grant_is_reported_with_the_sql_that_gives_it() {
    let (setup, pgsvid) = started();
    administrate(&setup, REVOKE);
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "message", &[REFUSED, "permission denied for function pg_reload_conf"]);
    assert_text(
        &alarm,
        "cause",
        &["role pgsvid may not call pg_reload_conf() in database postgres"],
    );
    run(&setup, &alarm);
    pgsvid.signal(Signal::HUP);
    assert_current(&pgsvid, mark, 3);
}

#[test]
fn p04_a_refused_peer_is_reported_with_the_lines_that_admit_it() {
    let (setup, pgsvid) = started();
    setup.cluster.set_hba("local all all peer");
    setup.cluster.sighup();
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "message", &[REFUSED, "Peer authentication failed for user \"pgsvid\""]);
    assert_text(&alarm, "fix", &[&format!("let uid {} log in", setup.cluster.uid())]);
    admit(&setup, &alarm);
    assert_current(&pgsvid, mark, 2);
}

#[test]
fn p06_a_uid_without_a_name_where_postgresql_runs_is_explained() {
    let (setup, pgsvid) = started();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.agent.rotate().unwrap();
    // As in a pod whose two containers run under one uid that neither image knows.
    let account = Account::nameless();
    let directory = Directory::new();
    std::os::unix::fs::chown(directory.path(), Some(account.uid()), Some(account.gid())).unwrap();
    let log = setup.cluster.log_mark();
    let directory = directory.to_string();
    let pgsvid = setup.spawn_as(&account, &["--directory", &directory]);
    let (alarm, _) = pgsvid.alarm_after(Mark::default());
    assert_text(&alarm, "message", &[REFUSED, "Peer authentication failed for user \"pgsvid\""]);
    let fix = format!("let uid {} log in", account.uid());
    assert_text(&alarm, "fix", &[&fix, "the uid needs a name where PostgreSQL runs"]);
    let uid = account.uid();
    let said = if setup.cluster.version() >= 18 {
        format!("local user with ID {uid} does not exist")
    } else {
        format!("could not look up local user ID {uid}")
    };
    setup.cluster.wait_for_log(log, LIMIT, &said);
    // What was published stays, and pgsvid goes on.
    assert!(pgsvid.is_running());
    assert!(std::fs::exists(format!("{directory}/svid_key.pem")).unwrap());
}

/// The role has lost its right to connect: the same SQLSTATE as a missing grant on the function.
#[test]
fn p04_a_database_closed_to_the_role_is_reported_with_the_sql_that_opens_it() {
    let (setup, pgsvid) = started();
    administrate(&setup, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "message", &[REFUSED, "(SQLSTATE 42501)"]);
    assert_text(&alarm, "cause", &["role pgsvid cannot log in to database postgres"]);
    run(&setup, &alarm);
    pgsvid.signal(Signal::HUP);
    assert_current(&pgsvid, mark, 3);
}

/// PostgreSQL has loaded the first set at its own start: nobody would see before the first renewal that none of them
/// can be handed over.
#[test]
fn p04_a_missing_grant_is_reported_although_the_first_set_is_served() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let first = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    first.current(1);
    first.terminate(test_support::LIMIT);
    administrate(&setup, REVOKE);

    let second = setup.spawn();
    let rotated = second.rotated(0);
    assert_eq!(rotated["verdict"], "current");
    let warning = second.event("reload-impossible");
    assert_eq!(warning["level"], "WARN");
    assert_text(
        &warning,
        "cause",
        &["role pgsvid may not call pg_reload_conf() in database postgres"],
    );
    assert_text(&warning, "command", &["psql -U postgres -d postgres -c 'GRANT EXECUTE"]);
}

#[test]
fn p05_a_grant_in_another_database_is_explained() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    setup.cluster.set_hba("local all pgsvid peer map=pgsvid");
    let pgsvid = setup.spawn_with(&["--database", "other"]);
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);

    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "message", &[REFUSED, "database \"other\" does not exist"]);
    assert_text(
        &alarm,
        "fix",
        &["set postgres.database to a database that exists; other does not"],
    );
    administrate(&setup, "CREATE DATABASE other");
    pgsvid.signal(Signal::HUP);

    let (alarm, mark) = pgsvid.alarm_after(mark);
    assert_text(&alarm, "cause", &["role pgsvid may not call pg_reload_conf() in database other"]);
    assert_text(&alarm, "command", &["psql -U postgres -d other -c"]);
    assert_text(&alarm, "fix", &["because the grant only applies there"]);
    run(&setup, &alarm);
    pgsvid.signal(Signal::HUP);
    assert_current(&pgsvid, mark, 4);
}

#[test]
fn p04_a_password_that_is_missing_or_wrong_is_reported_with_its_file() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let file = setup.other.join("password");
    setup.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
    setup.cluster.set_hba("local postgres pgsvid scram-sha-256");
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    administrate(&setup, "ALTER ROLE pgsvid PASSWORD 'correct horse'");

    let (alarm, mark) = rotate(&setup, &pgsvid);
    let name = file.display().to_string();
    assert_text(&alarm, "message", &[REFUSED, "cannot read the password file", &name]);
    assert_text(
        &alarm,
        "fix",
        &[&format!("replace {name} by a regular file that holds only the password of role pgsvid")],
    );

    setup.other.write("password", "battery staple\n", 0o600);
    pgsvid.signal(Signal::HUP);
    let (alarm, mark) = pgsvid.alarm_after(mark);
    assert_text(&alarm, "message", &[REFUSED, "(SQLSTATE 28P01)"]);
    assert_text(&alarm, "fix", &["put the password of role pgsvid into", &name]);

    setup.other.write("password", "correct horse\n", 0o600);
    pgsvid.signal(Signal::HUP);
    assert_current(&pgsvid, mark, 4);
    let lines = pgsvid.lines().join("\n");
    assert!(!lines.contains("battery") && !lines.contains("horse"), "a password was logged");
}

#[test]
fn p04_a_server_that_asks_for_a_password_that_is_not_configured() {
    let (setup, pgsvid) = started();
    setup.cluster.set_hba("local postgres pgsvid scram-sha-256");
    administrate(&setup, "ALTER ROLE pgsvid PASSWORD 'correct horse'");
    setup.cluster.sighup();
    let (alarm, mark) = rotate(&setup, &pgsvid);
    assert_text(&alarm, "message", &[REFUSED, "password missing"]);
    assert_text(&alarm, "fix", &["set postgres.password_file to a file with the password of role"]);
    admit(&setup, &alarm);
    pgsvid.signal(Signal::HUP);
    assert_current(&pgsvid, mark, 3);
}

/// What is said once is not said again, however often it is tried.
#[test]
fn p04_the_same_trouble_is_an_alarm_once() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    setup.configure("[log]\nlevel = 'debug'");
    let pgsvid = setup.start();
    administrate(&setup, REVOKE);
    let (alarm, mut mark) = rotate(&setup, &pgsvid);
    let again = format!("still: {}", alarm["message"].as_str().unwrap());
    for _ in 0..3 {
        pgsvid.signal(Signal::HUP);
        mark = pgsvid.message_after(mark, &again).1;
    }
    assert_eq!(alarms(&pgsvid), 1);
    // Another trouble is another alarm, and so is the first when it comes back.
    administrate(&setup, "ALTER ROLE pgsvid NOLOGIN");
    pgsvid.signal(Signal::HUP);
    let (alarm, mark) = pgsvid.alarm_after(mark);
    assert_text(&alarm, "message", &[REFUSED, "is not permitted to log in"]);
    administrate(&setup, "ALTER ROLE pgsvid LOGIN");
    pgsvid.signal(Signal::HUP);
    let (alarm, _) = pgsvid.alarm_after(mark);
    assert_text(&alarm, "message", &[REFUSED, "permission denied for function"]);
    assert_eq!(alarms(&pgsvid), 3);
}

fn started() -> (Setup, Pgsvid) {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let pgsvid = setup.start();
    (setup, pgsvid)
}

fn administrate(setup: &Setup, sql: &str) {
    setup.cluster.sql("postgres", "postgres", sql);
}

/// Renews the SVID, which cannot be handed over, and returns the alarm.
#[track_caller]
fn rotate(setup: &Setup, pgsvid: &Pgsvid) -> (Value, Mark) {
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (alarm, mark) = pgsvid.alarm_after(mark);
    assert_eq!(alarm["verdict"], "still-old", "{alarm}");
    (alarm, mark)
}

#[track_caller]
fn assert_text(event: &Value, field: &str, texts: &[&str]) {
    let found = event[field].as_str().unwrap_or_default();
    for text in texts {
        assert!(found.contains(text), "{field} lacks {text:?}: {event}");
    }
}

/// On a busy machine a retry may complete the generation before, between the remedy and the signal.
#[track_caller]
fn assert_current(pgsvid: &Pgsvid, mark: Mark, generation: u64) {
    let (event, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        event["event"] == "rotated" && event["generation"] == generation
    });
    assert_eq!(event["verdict"], "current", "{event}");
}

fn alarms(pgsvid: &Pgsvid) -> usize {
    pgsvid.lines().iter().filter(|line| line.contains("\"level\":\"ERROR\"")).count()
}

/// Runs the command of a remedy in a shell, as it stands.
#[track_caller]
fn run(setup: &Setup, alarm: &Value) {
    let command = alarm["command"].as_str().unwrap_or_else(|| panic!("no command: {alarm}"));
    let end = format!(" -p {}", setup.cluster.port());
    assert!(command.contains(&end), "no{end} in {command}");
    let script = ["-c".to_owned(), command.to_owned()];
    let program = Program::spawn_as(Account::server(), "/bin/bash", script, &[]);
    let status = program.wait_exit(LIMIT);
    assert!(status.success(), "{command}: {}", program.standard_error());
}

/// Writes the lines of a remedy into the server's files, and reloads.
#[track_caller]
fn admit(setup: &Setup, alarm: &Value) {
    let fix = alarm["fix"].as_str().unwrap();
    let lines: Vec<&str> = fix.split('`').skip(1).step_by(2).collect();
    let [hba, ident] = lines.as_slice() else { panic!("no two lines: {fix}") };
    setup.cluster.set_hba(&format!("{hba}\nlocal all all peer"));
    setup.cluster.set_ident(&ident.replace("<os-user>", Account::server().name()));
    setup.cluster.sighup();
}
