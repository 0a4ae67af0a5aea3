//! What `check` reports about a PostgreSQL, each time compared with what PostgreSQL itself does.

mod clients_own;
mod companions;
mod curves;
mod daemon;
mod inputs;
mod languages;
mod lists;
mod logins;
mod methods;
mod names;
mod own_connections;
mod own_login;
mod places;
mod published_map;
mod readers;
mod remedies;
mod rights;
mod stock;
pub(crate) mod tls_settings;
mod too_large;
mod trusted;
mod unloaded;
mod usages;

use serde_json::Value;
use test_support::{Account, LIMIT, Program, Setup, eventually};

use crate::attacks::planted_texts::report;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// A set is published, and the server runs with it and these lines of `pg_hba.conf`.
pub(crate) fn started_with(hba: &str) -> Setup {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(hba)).create();
    start(&setup);
    setup
}

pub(crate) fn start(setup: &Setup) {
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.cluster.start();
}

pub(crate) fn admin(setup: &Setup, statements: &str) -> String {
    setup.cluster.sql("postgres", "postgres", statements)
}

/// SIGHUP, and a wait for its effect.
pub(crate) fn reload(setup: &Setup) {
    let loaded = || admin(setup, "SELECT pg_conf_load_time()");
    let before = loaded();
    setup.cluster.sighup();
    eventually(LIMIT, "the server has read its files", || loaded() != before);
}

/// Restarts PostgreSQL, so that it also logs as JSON, which no client can forge; false if this version cannot.
pub(crate) fn logs_as_json(setup: &Setup) -> bool {
    if setup.cluster.version() < 15 {
        return false;
    }
    // The collector's file for lines is the one that the test reads.
    let directory = setup.cluster.data_directory();
    let directory = directory.parent().unwrap();
    for path in [directory.to_owned(), directory.join("log")] {
        std::os::unix::fs::chown(path, Some(setup.cluster.uid()), None).unwrap();
    }
    let directory = directory.display();
    setup.cluster.set_conf(&format!(
        "logging_collector = on\nlog_destination = 'stderr,jsonlog'\nlog_directory = '{directory}'\nlog_filename = 'log'"
    ));
    setup.cluster.restart();
    true
}

/// Replaces the lines about TCP below pgsvid's own, and waits until the server has them.
pub(crate) fn hba(setup: &Setup, lines: &str) {
    let lines = format!("local postgres pgsvid peer map=pgsvid\n{lines}\nlocal all all peer");
    setup.cluster.set_hba(&lines);
    reload(setup);
}

/// Replaces the lines of `pg_ident.conf` below pgsvid's own.
pub(crate) fn ident(setup: &Setup, lines: &str) {
    setup.cluster.set_ident(&format!("pgsvid {} pgsvid\n{lines}", Account::server().name()));
}

pub(crate) fn check(setup: &Setup, more: &[&str]) -> Value {
    report(Account::server(), setup, more)
}

pub(crate) fn findings(report: &Value) -> Vec<&Value> {
    let sections = report["sections"].as_array().unwrap();
    sections.iter().flat_map(|section| section["findings"].as_array().unwrap()).collect()
}

/// The findings with that code, in that severity.
pub(crate) fn found<'a>(report: &'a Value, severity: &str, code: &str) -> Vec<&'a Value> {
    let is_meant = |found: &&Value| found["severity"] == severity && found["code"] == code;
    findings(report).into_iter().filter(is_meant).collect()
}

#[track_caller]
pub(crate) fn one<'a>(report: &'a Value, severity: &str, code: &str) -> &'a Value {
    let found = found(report, severity, code);
    found.first().unwrap_or_else(|| panic!("no {severity} {code} in {report:#}"))
}

/// Runs the command of a remedy as it is printed, as the user that may be the superuser.
#[track_caller]
pub(crate) fn paste(finding: &Value) {
    let command = finding["command"].as_str().unwrap_or_else(|| panic!("no command: {finding:#}"));
    let script = ["-c".to_owned(), command.to_owned()];
    let program = Program::spawn_as(Account::server(), "/bin/bash", script, &[]);
    let status = program.wait_exit(LIMIT);
    assert!(status.success(), "{command}: {}", program.standard_error());
}

/// What stands between backquotes in a remedy: lines to be written.
fn lines(finding: &Value) -> Vec<&str> {
    finding["fix"].as_str().unwrap().split('`').skip(1).step_by(2).collect()
}
