//! A real PgBouncer beside PostgreSQL: both read the published set.

mod faults;
mod open;
mod server_side;
mod shared_port;
mod towards_postgresql;

use std::fs::File;

use serde_json::Value;
use test_support::{Account, LIMIT, PgBouncer, Pgsvid, Program, Served, Setup, Signal, eventually};

pub(super) const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// Clients need a certificate, and PgBouncer shows its own to PostgreSQL.
pub(super) const STRICT: &str =
    "client_tls_sslmode = verify-full\nauth_type = cert\nserver_tls_sslmode = verify-full\n";

/// Nothing runs yet. `more` follows the usual lines of the ini.
pub(super) fn prepared(more: &str) -> (Setup, PgBouncer) {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let pgbouncer = PgBouncer::before(&setup.cluster);
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}{more}"));
    configure(&setup, &[&pgbouncer], "");
    (setup, pgbouncer)
}

/// pgsvid's configuration: each PgBouncer has a name: `pooler`, then `pooler1` and so on.
pub(super) fn configure(setup: &Setup, poolers: &[&PgBouncer], more: &str) {
    let name = |number: usize| match number {
        0 => "pooler".to_owned(),
        number => format!("pooler{number}"),
    };
    let tables: Vec<_> =
        poolers.iter().enumerate().map(|(number, it)| it.table(&name(number))).collect();
    let listen = setup.other.join("status.sock");
    let listen = format!("[health]\nlisten = 'unix:{}'\n", listen.display());
    setup.configure(&format!("{more}{}{listen}", tables.concat()));
}

/// Everything runs, and both serve the first set.
pub(super) fn running(more: &str) -> (Setup, PgBouncer, Pgsvid) {
    let (setup, pgbouncer) = prepared(more);
    let pgsvid = started(&setup, &[&pgbouncer]);
    (setup, pgbouncer, pgsvid)
}

/// Starts everything, and waits for the first set.
pub(super) fn started(setup: &Setup, poolers: &[&PgBouncer]) -> Pgsvid {
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    for pooler in poolers {
        pooler.start();
    }
    current(&pgsvid, "postgres", 1);
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    pgsvid
}

/// Waits for the proof, which must be `current`.
pub(super) fn current(pgsvid: &Pgsvid, consumer: &str, generation: u64) -> Value {
    let is_it = |event: &Value| {
        event["event"] == "rotated"
            && event["consumer"] == consumer
            && event["generation"] == generation
    };
    let event = pgsvid.wait_for_event(LIMIT, is_it);
    assert_eq!(event["verdict"], "current", "{event}");
    event
}

/// Waits for an alarm about a consumer.
pub(super) fn alarm(pgsvid: &Pgsvid, consumer: &str) -> Value {
    pgsvid.wait_for_event(LIMIT, |event| event["level"] == "ERROR" && event["consumer"] == consumer)
}

pub(super) fn assert_serves(pgbouncer: &PgBouncer, setup: &Setup) {
    let served = Served::at(pgbouncer.port()).unwrap();
    assert_eq!(served.leaf, setup.agent.svid().leaf());
}

/// `pgsvid status`, as JSON.
pub(super) fn status(setup: &Setup) -> Value {
    let socket = format!("unix:{}", setup.other.join("status.sock").display());
    let arguments = ["status", "--format", "json", "--socket", &socket];
    let output = Program::spawn(PGSVID, arguments, &[]);
    output.wait_exit(LIMIT);
    serde_json::from_str(&output.standard_output()).unwrap_or_default()
}

/// The findings of `check` about PgBouncer: code and severity.
pub(super) fn check(setup: &Setup, account: &Account) -> Vec<(String, String)> {
    let usual = setup.arguments();
    let usual = usual.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
    let all = ["check", "--format", "json"].into_iter().chain(usual.map(String::as_str));
    let program = Program::spawn_as(account, PGSVID, all, &[]);
    program.wait_exit(LIMIT);
    let report: Value = serde_json::from_str(&program.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let mine = sections.iter().filter(|section| section["group"] == "pgbouncer");
    let findings = mine.flat_map(|section| section["findings"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.map(|found| (text(&found["code"]), text(&found["severity"]))).collect()
}

fn is(found: &[(String, String)], code: &str, severity: &str) -> bool {
    found.iter().any(|it| (it.0.as_str(), it.1.as_str()) == (code, severity))
}

#[test]
fn q01_each_set_is_in_force_at_both_and_clients_get_in() {
    let (setup, pgbouncer, pgsvid) = running("");
    for generation in 1..=3 {
        let proof = current(&pgsvid, "pooler", generation);
        current(&pgsvid, "postgres", generation);
        assert_serves(&pgbouncer, &setup);
        // 1.18 names no authorities, newer versions name all.
        let by = proof["authorities_by"].as_str().unwrap();
        assert!(["issuer", "key"].contains(&by), "{proof}");
        let client = pgbouncer.client(setup.files.path(), "localhost").script("SELECT 1").run();
        assert_eq!(client.stdout, "1", "{} {}", client.stderr, pgbouncer.log());
        if generation < 3 {
            setup.agent.rotate().unwrap();
        }
    }
    let view = status(&setup);
    assert_eq!(view["ready"], true, "{view}");
    let pooler = &view["consumers"][1];
    assert_eq!(
        (&pooler["kind"], &pooler["name"], &pooler["verdict"]),
        (&"pgbouncer".into(), &"pooler".into(), &"current".into())
    );
    assert_eq!(pooler["served"]["serial"], view["targets"][0]["published"]["serial"]);
    // The three are this test's own handshakes, without a certificate: pgsvid's leave none.
    assert_eq!(pgbouncer.log().matches("WARNING").count(), 3, "{}", pgbouncer.log());
    // Its console is used once for each set.
    assert_eq!(pgbouncer.log().matches("pgbouncer access from unix socket").count(), 3);
}

#[test]
fn q02_a_pgbouncer_that_is_down_delays_nothing_and_is_reloaded_when_it_is_back() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    pgbouncer.stop();
    setup.agent.rotate().unwrap();
    current(&pgsvid, "postgres", 2);
    let told = pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "reload-pending" && event["consumer"] == "pooler"
    });
    assert!(told["code"].as_str().unwrap().contains("pgbouncer-not-running"), "{told}");
    pgbouncer.start();
    current(&pgsvid, "pooler", 2);
    assert_serves(&pgbouncer, &setup);
}

#[test]
fn q03_a_pgbouncer_that_hangs_does_not_keep_postgresql_waiting() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    pgbouncer.signal(Signal::STOP);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    current(&pgsvid, "postgres", 2);
    // Its own attempt has not ended by then.
    let told = pgsvid.lines_after(mark).concat();
    assert!(!told.contains("pooler"), "{told}");
    pgbouncer.signal(Signal::CONT);
    current(&pgsvid, "pooler", 2);
    assert_serves(&pgbouncer, &setup);
}

#[test]
fn q04_check_says_what_is_right_and_what_is_wrong() {
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-settings", "ok"), "{found:?}");
    assert!(is(&found, "verdict-current", "ok"), "{found:?}");
    // The stable names can mix towards PostgreSQL.
    assert!(is(&found, "pgbouncer-files-mix", "warning"), "{found:?}");
    assert!(found.iter().all(|(_, severity)| severity != "failure"), "{found:?}");

    let other = setup.other.path().display();
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}client_tls_ca_file = {other}/nowhere.pem\n"));
    // 1.25 reports the missing file.
    let _ = pgbouncer.try_console("RELOAD");
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-setting-elsewhere", "failure"), "{found:?}");

    pgbouncer.stop();
    let found = check(&setup, Account::server());
    assert_eq!(found, [("pgbouncer-not-running".to_owned(), "failure".to_owned())]);
}

#[test]
fn q05_check_as_another_user_says_that_the_console_admits_only_pgbouncers() {
    let Some(third) = Account::third() else { return };
    let (setup, pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    let found = check(&setup, &third);
    assert!(is(&found, "pgbouncer-console-refused", "skipped"), "{found:?}");
    assert!(
        is(&found, "pgbouncer-socket-of-other-user", "failure") || found.len() > 1,
        "{found:?}"
    );
    // 1.18 says the first, 1.25 the second.
    let log = pgbouncer.log();
    assert!(log.contains("not allowed") || log.contains("no such user: pgbouncer"), "{log}");
}

/// The next rotation needs more than to look.
#[test]
fn b136_a_console_that_lets_pgsvid_only_look_is_a_failure() {
    let own = Account::server().name();
    let (setup, pgbouncer) = prepared(&format!("stats_users = {own}\n"));
    let table = pgbouncer.table("pooler");
    let users = |lines: &str| {
        // `auth_type = cert` admits nobody over the socket.
        let rules =
            setup.other.write("hba", "local all all peer\nhostssl all all all cert\n", 0o644);
        let files = PgBouncer::with_files(setup.files.path());
        pgbouncer.configure(&format!(
            "client_tls_sslmode = verify-full\nserver_tls_sslmode = verify-full\nauth_type = hba\nauth_hba_file = {}\n{files}{lines}\n",
            rules.display()
        ));
    };
    users(&format!("stats_users = {own}"));
    let names = pgbouncer.users();
    let name_users = || {
        let text = format!("\"localhost\" \"\"\n\"{own}\" \"\"\n");
        std::io::Write::write_all(&mut File::create(&names).unwrap(), text.as_bytes()).unwrap();
    };
    name_users();
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    let own_user = format!("{table}user = '{own}'\n");
    setup.configure(&own_user);
    assert!(is(&check(&setup, Account::server()), "pgbouncer-console-refused", "failure"));
    // What the remedy says: PgBouncer's own user is its administrator.
    setup.configure(&table);
    let found = check(&setup, Account::server());
    assert!(!found.iter().any(|(code, _)| code == "pgbouncer-console-refused"), "{found:?}");
    // Or the user is one.
    users(&format!("admin_users = other, {own}"));
    name_users();
    pgbouncer.stop();
    pgbouncer.start();
    setup.configure(&own_user);
    let found = check(&setup, Account::server());
    assert!(!found.iter().any(|(code, _)| code == "pgbouncer-console-refused"), "{found:?}");
}

#[test]
fn q06_a_pgbouncer_without_tls_is_reported_and_an_edit_of_its_ini_is_loaded() {
    let (setup, pgbouncer) = prepared("");
    pgbouncer.configure("client_tls_sslmode = disable\nauth_type = any\n");
    let pgsvid = started(&setup, &[&pgbouncer]);
    let told = alarm(&pgsvid, "pooler");
    assert_eq!(told["verdict"], "plaintext", "{told}");
    assert_eq!(told["code"], "verdict-plaintext", "{told}");
    // What it says helps, and pgsvid notices the edit.
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}"));
    current(&pgsvid, "pooler", 1);
    eventually(LIMIT, "it is ready", || status(&setup)["ready"] == true);
}
