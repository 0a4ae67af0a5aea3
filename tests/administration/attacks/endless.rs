//! A37: what is configured, or what PostgreSQL's files hold, has no end or takes for ever.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use test_support::{Account, LIMIT, Setup};

use crate::attacks::PGSVID;
use crate::attacks::planted_texts::report;

/// The texts and causes of the findings of that severity.
pub(crate) fn texts(report: &Value, severity: &str) -> String {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    findings
        .filter(|finding| finding["severity"] == severity)
        .map(|finding| format!("{} {}\n", finding["text"], finding["cause"]))
        .collect()
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
        [(fifo.to_str().unwrap(), "no regular file"), ("/dev/zero", "no regular file")]
    {
        setup.configure(&format!("[postgres]\npassword_file = '{path}'"));
        let begin = Instant::now();
        let report = report(Account::server(), &setup, &[]);
        assert!(begin.elapsed() < Duration::from_secs(5), "{path}: {:?}", begin.elapsed());
        assert!(texts(&report, "failure").contains(reason), "{path}: {report:#}");
    }
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
        skipped.contains("what the regular expressions of pg_ident.conf match in line"),
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
    println!("{:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(texts(&report, "skipped").contains("are never reached"), "{report:#}");
}
