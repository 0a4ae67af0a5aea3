//! N05 to N09: each reason why PostgreSQL refuses pgsvid has its own cause, and its remedy works as it is printed.

use test_support::{Account, Setup};

use crate::judged::{PGSVID, admin, check, found, hba, one, paste, reload, start, started_with};

const CERT: &str = "hostssl all app 127.0.0.1/32 cert";

/// The finding that says why pgsvid is not let in; its remedy is run, and heals.
#[track_caller]
fn heals(setup: &Setup, code: &str, cause: &str) {
    let report = check(setup, &[]);
    let finding = one(&report, "failure", code);
    let told = format!("{} {}", finding["text"], finding["cause"]);
    assert!(told.contains(cause), "{cause:?} is not told: {finding:#}");
    paste(finding);
    // A reload takes a moment to be followed.
    reload(setup);
    let report = check(setup, &[]);
    one(&report, "ok", "reload-privilege");
    assert!(found(&report, "failure", code).is_empty(), "{report:#}");
}

#[test]
fn n05_each_reason_of_a_refused_login_has_its_own_cause_and_remedy() {
    let setup = started_with(CERT);
    admin(&setup, "ALTER ROLE pgsvid NOLOGIN");
    heals(&setup, "role-login-refused", "may not log in (NOLOGIN)");

    admin(&setup, "DROP OWNED BY pgsvid; DROP ROLE pgsvid");
    heals(&setup, "role-login-refused", "there is no role pgsvid");

    let own = Account::server().name();
    setup.cluster.set_ident("other x y");
    reload(&setup);
    heals(
        &setup,
        "role-login-refused",
        &format!("no line that lets the operating-system user {own} log in as role pgsvid"),
    );

    setup
        .cluster
        .set_hba(&format!("local all all peer\nlocal postgres pgsvid peer map=pgsvid\n{CERT}"));
    reload(&setup);
    heals(&setup, "role-login-refused", "the order of the lines is wrong");

    // A password that nobody has is asked for by a line above.
    setup.cluster.set_hba(&format!(
        "local all all scram-sha-256\nlocal postgres pgsvid peer map=pgsvid\n{CERT}"
    ));
    reload(&setup);
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "role-login-refused").is_empty(), "{report:#}");
    admin(&setup, "ALTER ROLE pgsvid PASSWORD 'x'");
    heals(&setup, "login-method-unsupported", "the order of the lines is wrong");

    setup.cluster.set_hba(CERT);
    reload(&setup);
    heals(&setup, "role-login-refused", "is about role pgsvid in database postgres");

    setup.cluster.set_hba(&format!("local all pgsvid reject\n{CERT}"));
    reload(&setup);
    heals(&setup, "role-login-refused", "rejects it");

    setup.cluster.set_hba("local all all peer");
    setup.cluster.set_ident("pgsvid x y");
    reload(&setup);
    heals(&setup, "role-login-refused", "decides about role pgsvid");

    admin(&setup, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
    heals(&setup, "connect-privilege", "permission denied for database");
}

#[test]
fn n06_a_limit_of_connections_is_distinguished_from_a_server_that_is_full() {
    let setup = started_with(CERT);
    admin(&setup, "ALTER ROLE pgsvid CONNECTION LIMIT 0");
    heals(&setup, "connection-slots", "all connections of role pgsvid are in use");
    admin(&setup, "ALTER DATABASE postgres CONNECTION LIMIT 0");
    heals(&setup, "connection-slots", "all connections of database postgres are in use");
}

/// PostgreSQL says the same of a wrong password and of one that has expired.
#[test]
fn n09_a_password_that_has_expired_is_reported_with_what_lets_it_last() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(CERT)).create();
    let file = setup.other.write("password", "correct horse\n", 0o644);
    setup.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
    start(&setup);
    admin(&setup, "ALTER ROLE pgsvid PASSWORD 'correct horse' VALID UNTIL '2020-01-01'");
    setup.cluster.set_hba(&format!("local postgres pgsvid scram-sha-256\n{CERT}"));
    reload(&setup);
    let report = check(&setup, &[]);
    let finding = one(&report, "failure", "role-password-refused");
    assert!(finding["fix"].as_str().unwrap().contains("VALID UNTIL"), "{finding:#}");
    paste(finding);
    one(&check(&setup, &[]), "ok", "reload-privilege");
}

/// PostgreSQL was never asked to read the new files, so it has refused none.
#[test]
fn n08_a_missing_grant_is_no_refusal_of_the_new_files() {
    let setup = started_with(CERT);
    admin(&setup, "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
    setup.agent.rotate().unwrap();
    start_again(&setup);
    let report = check(&setup, &[]);
    let finding = one(&report, "warning", "verdict-still-old");
    let text = finding["text"].as_str().unwrap();
    assert!(
        !text.contains("refused") && text.contains("has not loaded the new files"),
        "{finding:#}"
    );
    assert!(
        finding["cause"].as_str().unwrap().contains("may not call pg_reload_conf()"),
        "{finding:#}"
    );
    // One cause, one failure, and its command.
    paste(one(&report, "failure", "reload-privilege"));
    let pgsvid = setup.spawn();
    let rotated = pgsvid.rotated(0);
    assert_eq!(rotated["verdict"], "current", "{rotated}");
    let report = check(&setup, &[]);
    assert!(found(&report, "warning", "verdict-still-old").is_empty(), "{report:#}");
}

/// Publishes the agent's newest set, which PostgreSQL is not told of.
fn start_again(setup: &Setup) {
    let pgsvid = setup.spawn();
    pgsvid.event("not-in-force");
    assert!(pgsvid.terminate(test_support::LIMIT).success());
}

#[test]
fn b75_a_line_that_lets_everybody_be_pgsvids_role_is_reported_and_the_remedy_ends_it() {
    let setup = started_with(CERT);
    setup.cluster.set_hba("local postgres pgsvid trust\nlocal all all peer");
    reload(&setup);
    let report = check(&setup, &[]);
    one(&report, "failure", "others-over-socket");
    hba(&setup, "");
    assert!(found(&check(&setup, &[]), "failure", "others-over-socket").is_empty());
}
