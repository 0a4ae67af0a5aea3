//! A37: configured files, or lists in PostgreSQL's files, have no end or take forever.

use std::fmt::Write as _;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use test_support::{Account, LIMIT, Program, Setup};
use tokio::time::Instant;

use crate::attacks::PGSVID;
use crate::attacks::planted_texts::report;

/// The texts and causes of the findings of that severity.
pub(crate) fn texts(report: &Value, severity: &str) -> String {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let texts = findings
        .filter(|finding| finding["severity"] == severity)
        .flat_map(|finding| [finding["text"].to_string(), finding["cause"].to_string()]);
    texts.collect::<Vec<_>>().join("\n")
}

pub(crate) fn started() -> Setup {
    let setup = Setup::new(PGSVID);
    setup.configure("");
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.cluster.start();
    setup
}

#[test]
fn a37_a_password_file_without_an_end_is_refused_at_once() {
    let setup = started();
    let fifo = setup.other.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    rustix::fs::chmod(&fifo, Mode::from_raw_mode(0o644)).unwrap();
    for (path, reason) in
        [(fifo.to_str().unwrap(), "not a regular file"), ("/dev/zero", "not a regular file")]
    {
        setup.configure(&format!("[postgres]\npassword_file = '{path}'"));
        let begin = Instant::now();
        let report = report(Account::server(), &setup, &[]);
        assert!(begin.elapsed() < Duration::from_secs(5), "{path}: {:?}", begin.elapsed());
        assert!(texts(&report, "failure").contains(reason), "{path}: {report:#}");
    }
}

/// Each was told as a pooler's answer, or with a remedy that does not help.
#[test]
fn a86_what_keeps_pgsvid_from_a_session_is_reported_by_its_own_cause() {
    let setup = started();
    let found = |more: &[&str]| {
        let report = report(Account::server(), &setup, more);
        assert!(!texts(&report, "failure").contains("pooler"), "{report:#}");
        report.to_string()
    };
    // A password that takes longer to prove than pgsvid goes on for.
    let (salt, key) = ("A".repeat(22) + "==", "A".repeat(43) + "=");
    let password = format!("SCRAM-SHA-256$200000:{salt}${key}:{key}");
    let statement = format!("ALTER ROLE pgsvid PASSWORD '{password}'");
    setup.cluster.sql("postgres", "postgres", &statement);
    setup.cluster.set_hba("local postgres pgsvid scram-sha-256");
    setup.cluster.sighup();
    let file = setup.other.write("password", "secret", 0o644);
    setup.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
    let said = found(&[]);
    assert!(said.contains("more SCRAM iterations than the 100000"), "{said}");
    assert!(said.contains("set scram_iterations to 100000 or less"), "{said}");

    let fifo = setup.other.join("pipe");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    setup.configure(&format!("[postgres]\npassword_file = '{}'", fifo.display()));
    let said = found(&[]);
    assert!(said.contains("pipe by a regular file that holds only the password of role"), "{said}");

    let long = format!("/tmp/{}", "x".repeat(100));
    let said = found(&["--postgres", &long]);
    assert!(said.contains("longer than the 107 bytes that the kernel allows"), "{said}");
}

#[test]
fn a37_regular_expressions_that_take_long_are_given_up_and_named() {
    let setup = started();
    let mut ident = format!("pgsvid {} pgsvid\n", Account::server().name());
    for number in 0..30 {
        // Five seconds each, on a text of this length.
        writeln!(
            ident,
            "spiffe /^(.+).*(.+).*(.+).*(.+).*(.+).*\\1\\2\\3\\4\\5S(?:z{number})*$ app"
        )
        .unwrap();
    }
    setup.cluster.set_ident(&ident);
    setup.cluster.set_hba(
        "local postgres pgsvid peer map=pgsvid\nhostssl all all all cert clientname=DN map=spiffe",
    );
    setup.cluster.sighup();
    let begin = Instant::now();
    let report = report(Account::server(), &setup, &[]);
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    let skipped = texts(&report, "skipped");
    assert!(
        skipped.contains("which names these regular expressions of pg_ident.conf match"),
        "{skipped}"
    );
    assert!(skipped.contains("and 25 more"), "{skipped}");
    let ok = texts(&report, "ok");
    assert!(!ok.contains("no map admits a workload that it does not name"), "{ok}");
}

#[test]
fn a37_a_pg_hba_conf_of_many_lines_is_judged_in_time() {
    let setup = started();
    let mut hba = String::from("local postgres pgsvid peer map=pgsvid\n");
    for number in 0..50_000 {
        writeln!(hba, "hostssl db{number} all all cert").unwrap();
    }
    setup.cluster.set_hba(&hba);
    let begin = Instant::now();
    let report = report(Account::server(), &setup, &[]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(texts(&report, "skipped").contains("are never reached"), "{report:#}");
}

#[test]
fn a53_maps_without_number_are_judged_in_time_and_memory() {
    let setup = started();
    let name = Account::server().name();
    let (mut hba, mut ident) = (
        "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n"
            .to_owned(),
        format!("pgsvid {name} pgsvid\nadministration {name} postgres\n"),
    );
    for number in 0..90_000 {
        writeln!(hba, "local db{number} all peer map=m{number}").unwrap();
        writeln!(ident, "m{} nobody app{number}", number % 50).unwrap();
    }
    for number in 0..120 {
        let statement = format!("CREATE ROLE super{number} LOGIN SUPERUSER");
        setup.cluster.sql("postgres", "postgres", &statement);
    }
    setup.cluster.write_file("pg_hba.conf", &hba);
    setup.cluster.write_file("pg_ident.conf", &ident);
    let begin = Instant::now();
    let arguments = setup.arguments();
    let arguments = arguments[..arguments.len() - 2].iter().map(String::as_str);
    let check = Program::spawn(PGSVID, ["check"].into_iter().chain(arguments), &[]);
    let mut peak = 0;
    while check.is_running() {
        peak = std::fs::read_to_string(format!("/proc/{}/status", check.pid()))
            .ok()
            .and_then(|status| {
                let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
                line.split_whitespace().nth(1)?.parse().ok()
            })
            .unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(peak < 300 * 1024, "{peak} KiB");
    let said = check.standard_output();
    assert!(said.contains("may be a superuser over the socket: not all lines"), "{said}");
}
