//! The fixed times and limits of docs/configuration.md are the constants of the sources.

use std::fmt::Write as _;
use std::path::Path;

use crate::generated;

/// What has which time or limit: a text with `{}` for each constant, and the file and name of each.
struct Row(&'static str, &'static str, &'static [(&'static str, &'static str)]);

const SOURCE: &str = "src/source/workload_api/mod.rs";
const DELIVERY: &str = "src/consumers/delivery/mod.rs";

const ROWS: &[Row] = &[
    Row("agent: from connecting to its first message", "{}", &[(SOURCE, "FIRST_MESSAGE")]),
    Row("agent: back-off after a failure", "{}", &[(SOURCE, "BACKOFF")]),
    Row(
        "agent: back-off while it has no entry for the workload",
        "{}",
        &[(SOURCE, "UNREGISTERED")],
    ),
    Row(
        "agent: asked again after it has refused the request, if it served pgsvid before",
        "{}",
        &[(SOURCE, "PERMANENT")],
    ),
    Row(
        "agent: keepalive ping; limit for the answer",
        "{}; {}",
        &[(SOURCE, "KEEPALIVE"), (SOURCE, "KEEPALIVE_ANSWER")],
    ),
    Row(
        "agent: connected again when this part of the remaining life has passed without a newer identity",
        "{} (at least {})",
        &[(SOURCE, "WATCHDOG_PART"), (SOURCE, "WATCHDOG_SHORTEST")],
    ),
    Row(
        "agent: connected again after a change of the clock of at least; the clock is compared, if the kernel does not report changes, every",
        "{}; {}",
        &[
            ("crates/base/src/timing/leap.rs", "SMALLEST"),
            ("crates/base/src/timing/leap.rs", "LOOK"),
        ],
    ),
    Row(
        "from one rotation to the next, at least",
        "{}",
        &[("src/rotation/mod.rs", "SHORTEST_INTERVAL")],
    ),
    Row(
        "a publication waits for attempts and for hooks with `barrier` that still run, at most",
        "{}",
        &[("src/rotation/barrier.rs", "PATIENCE")],
    ),
    Row(
        "from one rotation to the next after this many in a row",
        "{}: `files.publish_every`",
        &[("src/rotation/pace.rs", "BURST")],
    ),
    Row("publication: back-off after a failure", "{}", &[("src/rotation/mod.rs", "PUBLISH_AGAIN")]),
    Row(
        "`files.extra_authorities`: read again although the kernel has reported no change",
        "{}",
        &[("src/source/authorities.rs", "LOOK_AGAIN")],
    ),
    Row(
        "warning about a DNS name that a renewal has removed and `svid.dns_names` does not have",
        "{}",
        &[("src/status/naming.rs", "TOLD")],
    ),
    Row(
        "PostgreSQL: limit for connecting, and for each statement",
        "{}",
        &[("crates/postgres/src/sql/mod.rs", "LIMIT")],
    ),
    Row(
        "PostgreSQL: limit for the probe of one address",
        "{}",
        &[("crates/postgres/src/verify/mod.rs", "LIMIT")],
    ),
    Row(
        "PostgreSQL: back-off where waiting is enough, and after a bad verdict",
        "{}",
        &[(DELIVERY, "SOON")],
    ),
    Row(
        "PostgreSQL: back-off where somebody has to fix role, grant or authentication",
        "{}",
        &[(DELIVERY, "SLOWLY")],
    ),
    Row(
        "PostgreSQL: another SIGHUP although nothing has changed",
        "{}",
        &[(DELIVERY, "RELOAD_AGAIN")],
    ),
    Row("PostgreSQL: verified again when nothing has changed", "`postgres.verify_every`", &[]),
    Row(
        "a `[[served]]` and a `[client]`: limit for looking a name up; for one name server",
        "{}; {}",
        &[("src/resolve/mod.rs", "LIMIT"), ("src/resolve/mod.rs", "PATIENCE")],
    ),
    Row("a token: asked for again after a failure", "{}", &[("src/tokens/entry.rs", "AGAIN")]),
    Row(
        "a token: asked for again if the agent refuses the request, or has no JWT-SVIDs",
        "{}, or a quarter of what the token has left",
        &[("src/tokens/entry.rs", "SLOWLY")],
    ),
    Row("a hook: back-off after a failure", "{}", &[("src/hooks/course.rs", "AGAIN")]),
    Row(
        "a hook: from SIGTERM to SIGKILL, after its `hooks.timeout`",
        "{}",
        &[("src/parent/hook_run.rs", "GRACE")],
    ),
    Row(
        "alarm: the published certificate has this part of its life left, and when it has expired",
        "{}",
        &[("src/daemon/alarm.rs", "LEFT")],
    ),
    Row(
        "`check`: how long a server may serve the set before the newest",
        "{}",
        &[("src/doctor/check/tls.rs", "UNDER_WAY")],
    ),
    Row("an older generation stays, at least", "{}", &[("src/publish/sweep.rs", "GRACE")]),
    Row(
        "a certificate may begin ahead of the clock by",
        "{}",
        &[("crates/material/src/validity.rs", "CLOCK_SKEW")],
    ),
    Row(
        "status: limit for a connection; for its headers",
        "{}; {}",
        &[("src/http/server.rs", "LIMIT"), ("src/http/server.rs", "HEADERS")],
    ),
    Row(
        "`/livez`: limit for writing files; how late any step may be",
        "{}; {}",
        &[("src/rotation/mod.rs", "FILES"), ("src/status/pulse.rs", "LATE")],
    ),
    Row(
        "a daemon that has died is started again: first and longest pause, and the run after which pauses are short again",
        "{}, {}, {}",
        &[
            ("src/parent/duty.rs", "FIRST"),
            ("src/parent/duty.rs", "LONGEST"),
            ("src/parent/duty.rs", "LONG"),
        ],
    ),
    Row(
        "at SIGTERM or SIGINT: limit for a rotation or a hook that runs; at the second one: limit for the daemon",
        "{}; {}",
        &[("src/rotation/hand_over.rs", "GRACE"), ("src/parent/keep.rs", "AT_ONCE")],
    ),
];

const WIRE: &str = "src/source/workload_api/wire.rs";
const MESSAGE: &str = "src/source/workload_api/message.rs";
const CHECKS: &str = "crates/material/src/checks.rs";
const ISSUERS: &str = "crates/material/src/issuers.rs";
const SERVER: &str = "src/http/server.rs";

const LIMITS: &[Row] = &[
    Row("a message of the agent", "{} bytes", &[(SOURCE, "MESSAGE")]),
    Row(
        "in it: SVIDs; revocation lists; federated bundles",
        "{}; {}; {}",
        &[(WIRE, "MOST_SVIDS"), (WIRE, "MOST_LISTS"), (WIRE, "MOST_FEDERATED")],
    ),
    Row(
        "certificates of an SVID; their size",
        "{}; {} bytes",
        &[(CHECKS, "LONGEST_CHAIN"), (CHECKS, "LARGEST_CHAIN")],
    ),
    Row("a hint", "{} bytes", &[(MESSAGE, "LONGEST_HINT")]),
    Row(
        "certificates in a bundle; all accepted bundles together",
        "{}; {} bytes",
        &[(CHECKS, "LARGEST_BUNDLE"), (MESSAGE, "LARGEST_BUNDLES")],
    ),
    Row(
        "names of authorities in what is published; of those in `files.extra_authorities`",
        "{} bytes; {} bytes",
        &[(CHECKS, "MOST_NAMES"), (CHECKS, "MOST_EXTRA_NAMES")],
    ),
    Row(
        "search for a path from the leaf to a root: steps; intermediates in a path; paths",
        "{}; {}; {}",
        &[(ISSUERS, "MOST_STEPS"), (ISSUERS, "DEEPEST"), (ISSUERS, "MOST_PATHS")],
    ),
    Row(
        "processor time that an agent may cause: part of a processor in the long run; part of a second at once",
        "{}; {}",
        &[
            ("src/source/workload_api/allowance.rs", "SHARE"),
            ("src/source/workload_api/allowance.rs", "AT_ONCE"),
        ],
    ),
    Row(
        "log lines that an agent may cause: at once, and one more in each following interval",
        "{}",
        &[(SOURCE, "LINES")],
    ),
    Row(
        "a configuration file; a plain file of another helper",
        "{} bytes; {} bytes",
        &[("src/config/reading.rs", "LARGEST"), ("src/publish/links.rs", "LARGEST_PLAIN")],
    ),
    Row(
        "sessions that outlive their certificate: ended in a minute; roles counted by name",
        "{}; {}",
        &[
            ("src/consumers/postgres/sessions.rs", "MOST"),
            ("crates/postgres/src/sql/sessions.rs", "MOST_ROLES"),
        ],
    ),
    Row(
        "a `[[served]]`: instances; of them looked at together",
        "{}; {}",
        &[
            ("src/consumers/served/instances.rs", "MOST"),
            ("src/consumers/served/mod.rs", "AT_ONCE"),
        ],
    ),
    Row(
        "status: connections; request; attempts in the history",
        "{}; {} bytes; {}",
        &[(SERVER, "MOST"), (SERVER, "BUFFER"), ("src/status/history.rs", "KEPT")],
    ),
];

#[test]
fn the_page_of_times_is_that_of_the_sources() {
    generated::is_current("docs/configuration.md", "times", &table("time", ROWS));
}

#[test]
fn the_page_of_limits_is_that_of_the_sources() {
    generated::is_current("docs/configuration.md", "limits", &table("limit", LIMITS));
}

const FILES: &str = "src/source/files/mod.rs";
const ALARM: &str = "src/daemon/alarm.rs";
const HELD: &str = "src/status/mod.rs";

/// A sentence of a page: the page, the text with `{}` for each constant, and the file and name of each.
type Sentence = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const SENTENCES: &[Sentence] = &[
    (
        "docs/certificates.md",
        "once none of them has changed for {} ({} on NFS, FUSE and the like)",
        &[(FILES, "SETTLE"), (FILES, "SETTLE_SILENT")],
    ),
    ("docs/certificates.md", "pgsvid looks at them every {}", &[(FILES, "LOOK_SILENT")]),
    (
        "docs/certificates.md",
        "do not fit together for {} (before the first set: {})",
        &[(FILES, "PATIENCE"), (FILES, "PATIENCE_FIRST")],
    ),
    (
        "docs/certificates.md",
        "a twentieth of the life later, at least {} and at most {}",
        &[(HELD, "SHORTEST_DELAY"), (HELD, "LONGEST_DELAY_OF_FILES")],
    ),
    (
        "docs/certificates.md",
        "{} of the time between the expected renewal and the expiry are left, and at the expiry",
        &[(ALARM, "LEFT_OF_RENEWAL")],
    ),
    ("docs/hooks.md", "it still exists {} after the signal", &[("src/hooks/runner.rs", "WATCHED")]),
    ("docs/hooks.md", "and SIGKILL {} later", &[("src/parent/hook_run.rs", "GRACE")]),
    ("docs/hooks.md", "set by more than {} after", &[("src/hooks/pid_file.rs", "SLACK")]),
];

#[test]
fn times_in_sentences_are_those_of_the_sources() {
    for (page, sentence, constants) in SENTENCES {
        let text = crate::documentation::read(page);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut wanted = (*sentence).to_owned();
        for (file, name) in *constants {
            wanted = wanted.replacen("{}", &constant(file, name), 1);
        }
        assert!(text.contains(&wanted), "{page} does not say: {wanted}");
    }
}

fn table(unit: &str, rows: &[Row]) -> String {
    let mut table = format!("| what | {unit} |\n|---|---|\n");
    for Row(what, text, constants) in rows {
        assert_eq!(text.matches("{}").count(), constants.len(), "{what}");
        let mut text = (*text).to_owned();
        for (file, name) in *constants {
            text = text.replacen("{}", &constant(file, name), 1);
        }
        writeln!(table, "| {what} | {} |", in_units(&text)).unwrap();
    }
    table
}

/// `4194304 bytes` → `4 MiB`; other numbers of bytes stay.
fn in_units(text: &str) -> String {
    let parts = text.split("; ").map(|part| {
        let number = part.strip_suffix(" bytes").map(|number| number.parse::<u64>().unwrap());
        match number {
            Some(bytes) if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            Some(bytes) if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
            _ => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// A constant of a file as people read it; that of the code, before the tests.
fn constant(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let (_, rest) = text
        .split_once(&format!("const {name}: "))
        .unwrap_or_else(|| panic!("{file} has no constant {name}"));
    let (_, value) = rest.split_once(';').unwrap().0.split_once('=').unwrap_or_else(|| {
        // `[f64; 2] = …` has a semicolon before the value.
        rest.split_once(" = ").unwrap()
    });
    shown(value.split(';').next().unwrap().trim(), &format!("{file}: {name}"))
}

fn shown(value: &str, what: &str) -> String {
    if let Some(list) = value.strip_prefix(['(', '[']) {
        let parts = list.trim_end_matches([')', ']']).split(", ");
        let range = value.starts_with('(') && list.starts_with("Duration");
        let between = if range { " to " } else { ", " };
        return parts.map(|part| shown(part.trim(), what)).collect::<Vec<_>>().join(between);
    }
    if let Some(call) = value.strip_prefix("Duration::from_") {
        let (unit, number) = call.trim_end_matches(')').split_once('(').unwrap();
        let number: u64 = number.replace('_', "").parse().unwrap();
        return match (unit, number) {
            ("secs", 86_400) => "1 day".to_owned(),
            ("secs", number) if number >= 60 && number % 60 == 0 => format!("{} min", number / 60),
            ("secs", number) => format!("{number} s"),
            ("millis", 500) => "0.5 s".to_owned(),
            ("millis", number) => format!("{number} ms"),
            _ => panic!("{what}: {value}"),
        };
    }
    if value.contains(" * ") {
        let factors = value.split(" * ").map(|factor| factor.parse::<u64>().unwrap());
        return factors.product::<u64>().to_string();
    }
    let value = value.replace('_', "");
    let number: f64 = value.parse().unwrap_or_else(|error| panic!("{what}: {value}: {error}"));
    if number < 1.0 { format!("{} %", (number * 100.0).round()) } else { value }
}

#[test]
fn values_are_shown_with_their_units() {
    assert_eq!(
        shown("(Duration::from_millis(500), Duration::from_secs(120))", ""),
        "0.5 s to 2 min"
    );
    assert_eq!(shown("[0.25, 0.1]", ""), "25 %, 10 %");
    assert_eq!(shown("Duration::from_secs(310)", ""), "310 s");
    assert_eq!(shown("49_000", ""), "49000");
    assert_eq!(shown("(40, Duration::from_secs(5))", ""), "40, 5 s");
    assert_eq!(in_units(&shown("4 * 1024 * 1024", "")), "4194304");
    assert_eq!(in_units("4194304 bytes; 49000 bytes; 3"), "4 MiB; 49000 bytes; 3");
}
