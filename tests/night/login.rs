//! The role that reloads: PostgreSQL refuses its login, or its request.

use serde_json::Value;
use test_support::{LIMIT, eventually};

use crate::night::Night;
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] =
    &[&NOLOGIN, &NO_ROLE, &NO_GRANT, &CONNECTION_LIMIT, &PAST_ITS_END];

const REFUSED: Fault = Fault {
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "still-old",
    remedy: Remedy::Paste,
    by_itself: false,
    ..USUAL
};

const NOLOGIN: Fault = Fault {
    id: "N49",
    name: "the role may not log in",
    make: |night| {
        night.sql("ALTER ROLE pgsvid NOLOGIN");
        night.renew();
    },
    findings: &["role-login-refused"],
    check: Some(("failure", "role-login-refused")),
    ..REFUSED
};

const NO_ROLE: Fault = Fault {
    id: "N50",
    name: "the role is missing",
    make: |night| {
        night.sql("DROP OWNED BY pgsvid; DROP ROLE pgsvid");
        night.renew();
    },
    findings: &["role-login-refused"],
    check: Some(("failure", "role-login-refused")),
    ..REFUSED
};

const NO_GRANT: Fault = Fault {
    id: "N51",
    name: "the grant is missing",
    make: |night| {
        night.sql("REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
        night.renew();
    },
    findings: &["reload-privilege"],
    check: Some(("failure", "reload-privilege")),
    ..REFUSED
};

const CONNECTION_LIMIT: Fault = Fault {
    id: "N52",
    name: "CONNECTION LIMIT 0",
    make: |night| {
        night.sql("ALTER ROLE pgsvid CONNECTION LIMIT 0");
        night.renew();
    },
    // It hardly goes away by itself: a warning at once, and later an alarm.
    log: Some(("WARN", "reload-pending")),
    findings: &["connection-slots"],
    check: Some(("failure", "connection-slots")),
    ..REFUSED
};

/// Only a login by password looks at it.
const PAST_ITS_END: Fault = Fault {
    id: "N53",
    name: "VALID UNTIL is past",
    make: |night| {
        night.sql("ALTER ROLE pgsvid PASSWORD 'secret' VALID UNTIL '2020-01-01'");
        night.setup.cluster.set_hba("local postgres pgsvid scram-sha-256");
        night.reload();
        let file = night.setup.other.write("password", "secret", 0o600);
        night.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
        night.restart();
        night.renew();
    },
    findings: &["role-password-refused"],
    check: Some(("failure", "role-password-refused")),
    ..REFUSED
};

#[test]
fn n49_the_role_may_not_log_in() {
    walk(&NOLOGIN);
}

#[test]
fn n50_the_role_is_missing() {
    walk(&NO_ROLE);
}

#[test]
fn n51_the_grant_is_missing() {
    walk(&NO_GRANT);
}

#[test]
fn n52_connection_limit_0() {
    walk(&CONNECTION_LIMIT);
}

#[test]
fn n53_valid_until_is_past() {
    walk(&PAST_ITS_END);
}

/// The log's own command, as it stands in its field.
#[test]
fn n59_the_command_stands_alone_in_the_log_and_heals() {
    let mut night = Night::begin(&NO_GRANT);
    (NO_GRANT.make)(&mut night);
    let (line, _) = night.pgsvid().event_after(night.mark, "not-in-force");
    let command = line["command"].as_str().unwrap_or_else(|| panic!("no command: {line}"));
    let said = [&line["message"], &line["cause"], &line["fix"]];
    let holds = |text: &&Value| text.as_str().is_some_and(|text| text.contains("psql"));
    assert!(!said.iter().any(holds), "{line}");
    // The status has it on a line of its own, too.
    assert!(night.typed().0.lines().any(|typed| typed.ends_with(command)), "{}", night.typed().0);
    night.paste(command);
    night.ask_again();
    eventually(LIMIT, "the command heals", || night.word() == Some(Word::Current));
}
