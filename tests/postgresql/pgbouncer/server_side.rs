//! What PgBouncer shows to PostgreSQL, proven by a login through it.

use serde_json::Value;
use test_support::{Account, Directory, LIMIT, PgBouncer, Pgsvid, Setup, eventually};

use super::{STRICT, check, current, is, prepared, running, started, status};

/// The same as [`running`], with logins as the role `localhost`; `more` follows the usual lines of the ini.
fn logging_in(more: &str) -> (Setup, PgBouncer, Pgsvid) {
    let (setup, pgbouncer) = prepared(&format!("server_login_retry = 1\n{more}"));
    let table = pgbouncer.table("pooler");
    let listen = setup.other.join("status.sock");
    setup.configure(&format!(
        "{table}login_role = 'localhost'\nverify_every = '1s'\n[health]\nlisten = 'unix:{}'\n",
        listen.display()
    ));
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    (setup, pgbouncer, pgsvid)
}

/// A copy of the published files.
fn copied(setup: &Setup) -> Directory {
    let copy = Directory::new();
    for name in ["svid.pem", "svid_key.pem", "svid_bundle.pem"] {
        copy.write(name, std::fs::read(setup.files.join(name)).unwrap(), 0o600);
    }
    copy
}

fn proven(pgsvid: &Pgsvid, generation: u64) -> Value {
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "server-side-proven" && event["generation"] == generation
    })
}

/// Waits for the alarm with this state.
fn unproven(pgsvid: &Pgsvid, state: &str) -> Value {
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "server-side-unproven" && event["state"] == state
    })
}

/// The state in the status.
fn state(setup: &Setup) -> String {
    let view = status(setup);
    view["consumers"][1]["server_side"]["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn q20_each_set_is_proven_to_be_shown_to_postgresql() {
    let (setup, pgbouncer, pgsvid) = logging_in("");
    let mut before = String::new();
    for generation in 1..=3 {
        let proof = proven(&pgsvid, generation);
        let serial = proof["serial"].as_str().unwrap().to_owned();
        assert_ne!(serial, before);
        before = serial;
        if generation < 3 {
            setup.agent.rotate().unwrap();
        }
    }
    eventually(LIMIT, "the status says so", || state(&setup) == "current");
    assert_eq!(status(&setup)["ready"], true);
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-login", "ok"), "{found:?}");
    let log = pgbouncer.log();
    // A set that is proven is not proven again at each `verify_every`; the last is the login of `check`.
    let logins = log.matches("login attempt: db=postgres user=localhost").count();
    eventually(LIMIT, "several checks have passed", || status(&setup)["ready"] == true);
    assert!(logins <= 6, "{logins} {log}");
}

#[test]
fn q20_without_a_login_the_status_says_that_it_is_unproven() {
    let (setup, _pgbouncer, pgsvid) = running("");
    current(&pgsvid, "pooler", 1);
    eventually(LIMIT, "the verdict is recorded", || status(&setup)["ready"] == true);
    let view = status(&setup);
    assert_eq!(view["consumers"][1]["server_side"]["state"], "unproven", "{view}");
    assert_eq!(view["consumers"][1]["server_side"]["tried"], false, "{view}");
    assert_eq!(view["consumers"][0]["server_side"], Value::Null, "{view}");
    let found = check(&setup, Account::server());
    assert!(found.iter().all(|(code, _)| code != "pgbouncer-login"), "{found:?}");
}

#[test]
fn q21_a_postgresql_that_refuses_pgbouncers_certificate_is_an_alarm_that_ends() {
    let (setup, _pgbouncer, pgsvid) = logging_in("");
    proven(&pgsvid, 1);
    setup.cluster.sql("postgres", "postgres", "ALTER ROLE localhost NOLOGIN");
    setup.agent.rotate().unwrap();
    current(&pgsvid, "pooler", 2);
    let told = unproven(&pgsvid, "refused");
    assert_eq!(told["code"], "pgbouncer-login", "{told}");
    assert_eq!(told["consumer"], "pooler", "{told}");
    eventually(LIMIT, "the status says so", || state(&setup) == "refused");
    let view = status(&setup);
    assert_eq!(view["ready"], true, "PgBouncer serves its clients: {view}");
    assert_eq!(view["degraded"].as_array().map(Vec::len), Some(1), "{view}");
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-login", "failure"), "{found:?}");

    setup.cluster.sql("postgres", "postgres", "ALTER ROLE localhost LOGIN");
    proven(&pgsvid, 2);
    eventually(LIMIT, "nothing is degraded", || {
        status(&setup)["degraded"].as_array().is_some_and(Vec::is_empty)
    });
}

#[test]
fn q22_another_certificate_towards_postgresql_is_reported_and_none_is_too() {
    let (setup, pgbouncer, pgsvid) = logging_in("");
    proven(&pgsvid, 1);
    // A copy of the first set stays where PgBouncer's settings lead.
    let copy = copied(&setup);
    let side = |files: &str, side: &str| {
        let lines: Vec<&str> = files.lines().filter(|line| line.starts_with(side)).collect();
        lines.join("\n")
    };
    let files = PgBouncer::with_files(setup.files.path());
    let client = side(&files, "client");
    let elsewhere = side(&PgBouncer::with_files(copy.path()), "server");
    pgbouncer.configure(&format!("{STRICT}server_login_retry = 1\n{client}\n{elsewhere}"));
    setup.agent.rotate().unwrap();
    current(&pgsvid, "pooler", 2);
    let told = unproven(&pgsvid, "other");
    assert_eq!(told["code"], "pgbouncer-shows-other", "{told}");
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-shows-other", "failure"), "{found:?}");

    // pgsvid notices the edit.
    pgbouncer.configure(&format!("{STRICT}server_login_retry = 1\n{files}"));
    proven(&pgsvid, 2);

    // PostgreSQL lets the role in by its address alone, and PgBouncer shows nothing.
    setup
        .cluster
        .set_hba("local postgres pgsvid peer map=pgsvid\nhostssl all localhost 127.0.0.1/32 trust");
    pgbouncer.configure(&format!(
        "client_tls_sslmode = verify-full\nauth_type = cert\nserver_tls_sslmode = require\n{client}"
    ));
    setup.agent.rotate().unwrap();
    unproven(&pgsvid, "no-certificate");
    pgbouncer.configure(&format!(
        "client_tls_sslmode = verify-full\nauth_type = cert\nserver_tls_sslmode = disable\n{client}"
    ));
    setup
        .cluster
        .set_hba("local postgres pgsvid peer map=pgsvid\nhost all localhost 127.0.0.1/32 trust");
    setup.agent.rotate().unwrap();
    unproven(&pgsvid, "plaintext");
}

#[test]
fn q23_a_pgbouncer_that_does_not_trust_postgresql_is_an_alarm() {
    let (setup, pgbouncer, pgsvid) = logging_in("");
    proven(&pgsvid, 1);
    let stranger = dev_agent::Authority::new("elsewhere.test", false).unwrap();
    let bundle = setup.other.write("stranger.pem", stranger.root_pem(), 0o644);
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!(
        "{STRICT}server_login_retry = 1\n{files}server_tls_ca_file = {}\n",
        bundle.display()
    ));
    setup.agent.rotate().unwrap();
    current(&pgsvid, "pooler", 2);
    let told = pgsvid.wait_for_event(LIMIT, |event| event["event"] == "server-side-unproven");
    assert_eq!(told["code"], "pgbouncer-login", "{told}");
    pgbouncer.configure(&format!("{STRICT}server_login_retry = 1\n{files}"));
    proven(&pgsvid, 2);
}
