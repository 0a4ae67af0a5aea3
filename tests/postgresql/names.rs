//! A renewal that removes names: who is affected, and where that is reported until it is over.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{LIMIT, Program, Setup, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

fn entry(names: &[&str]) -> Entry {
    names.iter().fold(Entry::new(Setup::SPIFFE_ID), |entry, name| entry.dns(*name))
}

/// An entry with two names, clients that log in by certificate, and a status to be asked.
fn setup(more: &str) -> Setup {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    setup.agent.set_entries([entry(&["localhost", "db.example"])]).unwrap();
    configure(&setup, more);
    setup
}

fn configure(setup: &Setup, more: &str) {
    let socket = setup.other.join("status.sock");
    setup.configure(&format!("{more}\n[health]\nlisten = 'unix:{}'", socket.display()));
}

fn get(setup: &Setup, path: &str) -> String {
    let mut answer = String::new();
    let Ok(mut stream) = UnixStream::connect(setup.other.join("status.sock")) else {
        return answer;
    };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The codes that the status tells of the published set; `None` while it does not answer.
fn told(setup: &Setup) -> Option<Vec<String>> {
    let answer = get(setup, "/status");
    let view: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let findings = view["targets"][0]["findings"].as_array()?;
    assert!(findings.iter().all(|found| found["fix"].is_string()), "{view}");
    let told = view["degraded"].as_array()?.len() + view["missing"].as_array()?.len();
    assert!(told >= findings.len(), "{view}");
    Some(findings.iter().map(|found| found["code"].as_str().unwrap().to_owned()).collect())
}

#[track_caller]
fn wait_reported(setup: &Setup, codes: &[&str]) {
    eventually(LIMIT, format!("told is {codes:?}"), || told(setup).is_some_and(|it| it == codes));
}

/// A client that connects by this name, and proves by it which server it has met.
fn connects(setup: &Setup, host: &str, role: &str) -> Result<(), String> {
    let files = setup.files.path();
    let output = setup
        .cluster
        .psql()
        .env("PGHOST", host)
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", files.join("svid_bundle.pem"))
        .env("PGSSLCERT", files.join("svid.pem"))
        .env("PGSSLKEY", files.join("svid_key.pem"))
        .user(role)
        .database("postgres")
        .script("SELECT 1")
        .run();
    if output.status.success() { Ok(()) } else { Err(output.stderr) }
}

fn run_check(setup: &Setup, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = setup.arguments();
    let arguments = ["check", "--format", "json"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .chain(more.iter().copied());
    let program = Program::spawn(PGSVID, arguments, &[]);
    let code = program.wait_exit(LIMIT).code();
    (code, serde_json::from_str(&program.standard_output()).unwrap())
}

fn found<'a>(report: &'a Value, code: &str) -> Option<&'a Value> {
    let sections = report["sections"].as_array().unwrap().iter();
    let mut findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    findings.find(|found| found["code"] == code)
}

#[test]
fn f40_a_dns_name_that_a_renewal_loses_is_reported_until_it_is_back() {
    let setup = setup("");
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    connects(&setup, "db.example", "localhost").unwrap();
    wait_reported(&setup, &[]);

    setup.agent.set_entries([entry(&["localhost"])]).unwrap();
    let event = pgsvid.event("identity-names-lost");
    assert_eq!((&event["level"], &event["lost"]), (&"WARN".into(), &"db.example".into()));
    pgsvid.current(2);
    let refused = connects(&setup, "db.example", "localhost").unwrap_err();
    assert!(refused.contains("does not match host name"), "{refused}");
    connects(&setup, "localhost", "localhost").unwrap();
    // Wherever it is asked; and it is no reason to take the database out of service.
    wait_reported(&setup, &["svid-dns-name-lost"]);
    let ready = get(&setup, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("lacks db.example"), "{ready}");
    let metrics = get(&setup, "/metrics");
    assert!(
        metrics.contains("pgsvid_published_warning{code=\"svid-dns-name-lost\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("\npgsvid_degraded 1\n"), "{metrics}");
    let page = get(&setup, "/");
    assert!(page.contains("Degraded") && page.contains("lacks db.example"), "{page}");
    // Another renewal, which says nothing new, is no all-clear.
    setup.agent.rotate().unwrap();
    pgsvid.current(3);
    wait_reported(&setup, &["svid-dns-name-lost"]);
    assert_eq!(pgsvid.events("identity-names-lost").len(), 1);

    // A pattern is as good as the name, as libpq has it.
    setup.agent.set_entries([entry(&["localhost", "*.example"])]).unwrap();
    pgsvid.current(4);
    connects(&setup, "db.example", "localhost").unwrap();
    wait_reported(&setup, &[]);
    assert!(get(&setup, "/metrics").contains("\npgsvid_degraded 0\n"));
}

#[test]
fn f41_another_cn_is_reported_since_cert_takes_it_for_the_role() {
    let setup = setup("");
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    connects(&setup, "localhost", "localhost").unwrap();
    setup.agent.set_entries([entry(&["db.example", "localhost"])]).unwrap();
    let event = pgsvid.event("identity-subject-changed");
    assert_eq!(event["level"], "WARN");
    assert_eq!(
        (&event["before"], &event["now"]),
        (&"CN=localhost".into(), &"CN=db.example".into())
    );
    pgsvid.current(2);
    let refused = connects(&setup, "localhost", "localhost").unwrap_err();
    assert!(refused.contains("certificate authentication failed"), "{refused}");
    wait_reported(&setup, &["svid-subject-changed"]);
    // All of it at once: no name is left, and the subject is everybody's.
    setup.agent.set_entries([entry(&[])]).unwrap();
    pgsvid.current(3);
    wait_reported(&setup, &["svid-dns-name-lost", "svid-subject-changed"]);
    setup.agent.set_entries([entry(&["localhost", "db.example"])]).unwrap();
    pgsvid.current(4);
    wait_reported(&setup, &[]);
}

#[test]
fn f43_what_changes_while_pgsvid_does_not_run_is_reported_by_the_next_one() {
    let setup = setup("");
    let pgsvid = setup.start();
    assert!(pgsvid.terminate(LIMIT).success());
    let other = Entry::new("spiffe://example.org/ns/test/sa/other").dns("other");
    setup.agent.set_entries([other]).unwrap();
    // `check` tells it before, since nothing is published yet.
    let (_, report) = run_check(&setup, &[]);
    let codes = ["svid-identity-changed", "svid-dns-name-lost", "svid-subject-changed"];
    for code in codes {
        assert_eq!(found(&report, code).unwrap()["severity"], "warning", "{report:#}");
    }
    let pgsvid = setup.spawn();
    let lost = pgsvid.event("identity-names-lost");
    assert_eq!(lost["lost"], "localhost, db.example");
    pgsvid.event("identity-changed");
    pgsvid.event("identity-subject-changed");
    pgsvid.current(1);
    wait_reported(&setup, &codes);
    // A restart says that it was meant.
    assert!(pgsvid.terminate(LIMIT).success());
    let _pgsvid = setup.spawn();
    wait_reported(&setup, &[]);
}

#[test]
fn f44_configured_names_are_reported_until_they_are_there_and_check_fails() {
    let setup = setup("[svid]\ndns_names = ['localhost', 'db.example']");
    let pgsvid = setup.start();
    wait_reported(&setup, &[]);
    let (_, report) = run_check(&setup, &[]);
    assert!(found(&report, "svid-dns-name-missing").is_none(), "{report:#}");
    setup.agent.set_entries([entry(&["localhost"])]).unwrap();
    pgsvid.event("identity-names-missing");
    pgsvid.current(2);
    wait_reported(&setup, &["svid-dns-name-missing"]);
    let (status, report) = run_check(&setup, &[]);
    let missing = found(&report, "svid-dns-name-missing").unwrap();
    assert_eq!((status, &missing["severity"]), (Some(1), &"failure".into()), "{report:#}");
    assert_eq!(missing["object"], "db.example");
    // No restart makes it quiet.
    assert!(pgsvid.terminate(LIMIT).success());
    let pgsvid = setup.spawn();
    wait_reported(&setup, &["svid-dns-name-missing"]);
    setup.agent.set_entries([entry(&["localhost", "db.example"])]).unwrap();
    pgsvid.current(1);
    wait_reported(&setup, &[]);
}

#[test]
fn f44_what_is_printed_makes_a_change_quiet_that_was_meant() {
    let setup = setup("");
    let pgsvid = setup.start();
    setup.agent.set_entries([entry(&["localhost"])]).unwrap();
    pgsvid.current(2);
    wait_reported(&setup, &["svid-dns-name-lost"]);
    let answer = get(&setup, "/status");
    let view: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let fix = view["targets"][0]["findings"][0]["fix"].as_str().unwrap();
    let line = fix.split_once("svid.").unwrap().1.split_once(']').unwrap().0;
    assert!(pgsvid.terminate(LIMIT).success());
    configure(&setup, &format!("[svid]\n{line}]"));
    let pgsvid = setup.spawn();
    wait_reported(&setup, &[]);
    // Of those that are named, each counts.
    setup.agent.set_entries([entry(&["another"])]).unwrap();
    pgsvid.current(1);
    wait_reported(&setup, &["svid-dns-name-missing", "svid-subject-changed"]);
}
