//! What PostgreSQL's clients feel of a rotation every second.

use std::fs;
use std::time::Duration;

use test_support::Setup;

use crate::competitors::{self, Competitor as _, WithPgsvid, issue};
use crate::handshake::rest;
use crate::load::{make_roles, pgbench};
use crate::report::Report;
use crate::sample::{Sample, figure};
use crate::settings::Settings;

/// Four clients over TLS, with sessions that stay or with a new one for each transaction.
const KINDS: [(&str, &[&str]); 2] =
    [("sessions that stay", &[]), ("a new session per transaction (`-C`)", &["-C"])];

/// What was seen of one kind.
#[derive(Default)]
struct Seen {
    /// Transactions a second, of each run.
    rate: Sample,
    /// Milliseconds of each transaction.
    latency: Sample,
    failed: u64,
    rotations: u64,
}

pub(crate) fn measure(settings: &Settings) -> Report {
    let pgsvid = WithPgsvid::start(competitors::setup(settings, &std::env::temp_dir()));
    make_roles(&pgsvid.setup().cluster);
    let table = "CREATE TABLE t AS SELECT n, n * 2 AS twice FROM generate_series(1, 100000) AS n; \
                 CREATE UNIQUE INDEX ON t (n); GRANT SELECT ON t TO bench; ANALYZE t";
    pgsvid.setup().cluster.sql("postgres", "postgres", table);
    let mut seen: [[Seen; 2]; 2] = Default::default();
    for _ in 0..settings.often(5, 1) {
        for ((_, options), seen) in KINDS.iter().zip(&mut seen) {
            for (rotating, seen) in [false, true].into_iter().zip(seen) {
                run(settings, &pgsvid, options, rotating, seen);
            }
        }
    }
    let mut rows = Vec::new();
    for ((name, _), seen) in KINDS.iter().zip(&seen) {
        for (rotating, seen) in ["without", "with a rotation a second"].iter().zip(seen) {
            let mut row = vec![format!("{name}, {rotating}"), figure(seen.rate.median())];
            let latency = [0.5, 0.99, 0.999].map(|part| figure(seen.latency.quantile(part)));
            row.extend(latency);
            row.push(seen.latency.values().len().to_string());
            row.extend([seen.failed, seen.rotations].map(|count| count.to_string()));
            rows.push(row);
        }
    }
    let mut report = Report::default();
    let head =
        ["", "tps", "median ms", "p99 ms", "p99.9 ms", "transactions", "failed", "rotations"];
    report.table(&head, &rows);
    report
}

fn run(
    settings: &Settings,
    pgsvid: &WithPgsvid,
    options: &[&str],
    rotating: bool,
    seen: &mut Seen,
) {
    let setup: &Setup = pgsvid.setup();
    let script = "\\set n random(1, 100000)\nSELECT twice FROM t WHERE n = :n;\n";
    let script = setup.other.write("select.sql", script, 0o644).display().to_string();
    let logs = setup.other.subdirectory(&format!(
        "logs{}",
        seen.rate.values().len() * 2 + usize::from(rotating) + 1000 * options.len()
    ));
    let prefix = logs.join("log").display().to_string();
    let time = settings.often(20, 2).to_string();
    let fixed =
        ["-n", "-c", "4", "-j", "2", "-T", &time, "-f", &script, "-l", "--log-prefix", &prefix];
    let arguments: Vec<&str> = fixed.into_iter().chain(options.iter().copied()).collect();
    let program = pgbench(&setup.cluster, &arguments);
    let mut mark = pgsvid.program().mark();
    while program.is_running() {
        if rotating {
            competitors::push(setup, &issue(setup));
            mark = pgsvid
                .program()
                .wait_for_event_after(mark, test_support::LIMIT, |event| {
                    event["verdict"] == "current"
                })
                .1;
            seen.rotations += 1;
        }
        for _ in 0..100 {
            rest(Duration::from_millis(10));
            if !program.is_running() {
                break;
            }
        }
    }
    let status = program.wait_exit(test_support::LIMIT);
    let output = program.standard_output();
    assert!(status.success(), "pgbench: {}\n{output}", program.standard_error());
    let after = |words: &str| {
        let line = output.lines().find_map(|line| line.split_once(words));
        let figure = line.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        figure.unwrap_or_else(|| panic!("pgbench does not say {words:?}:\n{output}"))
    };
    seen.rate.push(after("tps = "));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
    let failed = after("number of failed transactions: ") as u64;
    seen.failed += failed;
    for log in fs::read_dir(&logs).expect("lists the logs").flatten() {
        for line in fs::read_to_string(log.path()).expect("reads a log").lines() {
            // Client, transaction, microseconds (PostgreSQL manual, pgbench, "Per-Transaction Logging").
            let microseconds = line.split(' ').nth(2).and_then(|text| text.parse::<f64>().ok());
            seen.latency.push(microseconds.expect("a line of pgbench's log") / 1e3);
        }
    }
    fs::remove_dir_all(&logs).expect("removes the logs");
}
