//! PostgreSQL is down, or its configured address is wrong.

use std::time::Duration;

use serde_json::Value;
use test_support::{Cluster, LIMIT, Mode, Setup, Signal, free_address};

use crate::night::{Night, PGSVID};
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] =
    &[&DOWN, &KILLED, &FORGOTTEN_PORT, &WRONG_SOCKET_DIRECTORY, &TWO_CLUSTERS];

const DOWN: Fault = Fault {
    id: "N32",
    name: "PostgreSQL is down",
    make: |night| {
        night.setup.cluster.stop(Mode::Fast);
        night.renew();
    },
    log: Some(("INFO", "reload-pending")),
    word: Word::Degraded,
    verdict: "unreachable",
    findings: &["postgresql-not-running"],
    check: Some(("failure", "postgresql-not-running")),
    remedy: Remedy::Done(|night, _| night.setup.cluster.start()),
    ..USUAL
};

const KILLED: Fault = Fault {
    id: "N33",
    name: "the postmaster was killed (SIGKILL)",
    // Its socket stays, and nobody tells.
    configuration: "[postgres]\nverify_every = '1s'\n",
    make: |night| {
        night.setup.cluster.signal(Signal::KILL);
        night.setup.cluster.wait_stopped(LIMIT);
    },
    log: Some(("WARN", "unproven")),
    word: Word::Degraded,
    verdict: "unreachable",
    findings: &["postgresql-not-running"],
    check: Some(("failure", "postgresql-not-running")),
    remedy: Remedy::Done(|night, _| night.setup.cluster.start()),
    ..USUAL
};

/// The port of 1 in 40 clusters that Debian makes is not 5432.
const FORGOTTEN_PORT: Fault = Fault {
    id: "N34",
    name: "the port was forgotten",
    // The kernel's list of sockets, and the directory, are closed to the sandbox.
    configuration: "[sandbox]\nenabled = false\n",
    plan: |builder| builder.agent(|agent| agent.ttl(Duration::from_secs(20)).automatic(true)),
    make: |night| {
        let another = free_address().port();
        night.options = vec!["--port".to_owned(), another.to_string()];
        night.restart();
        // A warning after an eighth of the life, an alarm after a quarter: the next look may come after both.
        night.pgsvid().wait_for_event_after(night.mark, LIMIT, |line| {
            let told = [&line["level"], &line["event"]];
            told == ["WARN", "reload-pending"] || told == ["ERROR", "not-in-force"]
        });
    },
    word: Word::NotReady,
    verdict: "unreachable",
    findings: &["postgresql-not-running"],
    check: Some(("failure", "postgresql-not-running")),
    remedy: Remedy::Done(look_there),
    ..USUAL
};

const WRONG_SOCKET_DIRECTORY: Fault = Fault {
    id: "N35",
    name: "the socket is in another directory",
    make: |night| {
        let elsewhere = night.setup.other.path().display().to_string();
        night.options = vec!["--postgres".to_owned(), elsewhere];
        night.restart();
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "still-old",
    findings: &["postgresql-not-running"],
    check: Some(("failure", "postgresql-not-running")),
    remedy: Remedy::Done(look_there),
    ..USUAL
};

/// The grant is missing in a cluster whose port is not the default; another one runs beside it.
const TWO_CLUSTERS: Fault = Fault {
    id: "N36",
    name: "two clusters: the remedy must not alter the other one",
    make: |night| {
        night.sql("REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
        night.renew();
    },
    log: Some(("ERROR", "not-in-force")),
    word: Word::NotReady,
    verdict: "still-old",
    findings: &["reload-privilege"],
    check: Some(("failure", "reload-privilege")),
    remedy: Remedy::Paste,
    by_itself: false,
    ..USUAL
};

/// The options that the finding names.
fn look_there(night: &mut Night, found: &Value) {
    let fix = found["fix"].as_str().unwrap();
    let words: Vec<&str> = fix.split(' ').collect();
    let options = words.windows(2).filter(|pair| ["--postgres", "--port"].contains(&pair[0]));
    night.options = options.flatten().map(|&word| word.to_owned()).collect();
    let cluster = &night.setup.cluster;
    let right = [
        "--postgres".to_owned(),
        cluster.socket_directory().display().to_string(),
        "--port".to_owned(),
        cluster.port().to_string(),
    ];
    assert_eq!(night.options, right, "{found:#}");
    night.restart();
}

#[test]
fn n32_postgresql_is_down() {
    walk(&DOWN);
}

#[test]
fn n33_the_postmaster_was_killed() {
    walk(&KILLED);
}

/// What is measured is the look that has proven it, and not one before it that had nowhere to look.
#[test]
fn n57_the_time_of_a_verification_is_that_of_its_look() {
    let setup = Setup::builder(PGSVID).cluster(|it| it.conf("listen_addresses = ''")).create();
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    let first = pgsvid.rotated(1);
    assert_eq!(first["verdict"], "unverifiable", "{first}");
    setup.cluster.set_conf("listen_addresses = '127.0.0.1'");
    setup.cluster.restart();
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let proven = |line: &Value| line["event"] == "rotated" && line["verdict"] == "current";
    let (line, _) = pgsvid.wait_for_event_after(mark, LIMIT, proven);
    assert!(line["verify_ms"].as_f64().is_some_and(|took| took > 1.0), "{line}");
}

#[test]
fn n34_the_port_was_forgotten() {
    walk(&FORGOTTEN_PORT);
}

#[test]
fn n35_the_socket_is_in_another_directory() {
    walk(&WRONG_SOCKET_DIRECTORY);
}

#[test]
fn n36_of_two_clusters_the_remedy_alters_the_right_one() {
    let other = Cluster::new();
    let acl = "SELECT proacl FROM pg_proc WHERE proname = 'pg_reload_conf'";
    let before = other.sql("postgres", "postgres", acl);
    let night: Night = walk(&TWO_CLUSTERS);
    assert_eq!(other.sql("postgres", "postgres", acl), before);
    assert_ne!(night.sql(acl), before);
}
