//! Measures pgsvid: beside the script that it replaces, and beside the floor, which is what nobody can go below.
//!
//! `scripts/bench` builds and runs it. Every figure comes with its median, its 99th percentile and how often it was
//! taken; where there are competitors, they take turns (A B C A B C …), because a machine is not the same from one minute
//! to the next. docs/evidence/performance.md tells what came of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot be made ends the run, and says where"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports to the user")]
#![allow(
    clippy::disallowed_methods,
    reason = "it measures by the real clock, and writes reports that nobody reads meanwhile"
)]
#![allow(clippy::cast_precision_loss, reason = "no figure here has more than fifteen digits")]

mod chain;
mod competitors;
mod feed;
mod floor;
mod footprint;
mod growth;
mod handshake;
mod idle;
mod latency;
mod ledger;
mod load;
mod machine;
mod mishaps;
mod plot;
mod report;
mod sample;
mod server;
mod settings;
mod start;

use std::process::ExitCode;

use report::Report;
use settings::{Settings, USAGE};

/// Measures one part.
type Measure = fn(&Settings) -> Report;

/// The parts, by name, in the order in which `all` takes them.
const PARTS: [(&str, Measure); 8] = [
    ("latency", latency::measure),
    ("mishaps", mishaps::clients),
    ("reloads", mishaps::reloads),
    ("start", start::measure),
    ("footprint", footprint::measure),
    ("idle", idle::measure),
    ("growth", growth::measure),
    ("server", server::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, endpoint, directory] = arguments.as_slice()
        && command == feed::COMMAND
    {
        feed::feed(endpoint, directory.as_ref());
        return ExitCode::FAILURE;
    }
    if arguments.iter().any(|argument| argument == "-h" || argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let known: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
    let (settings, parts) = match Settings::parse(&arguments, &known) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("bench: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    for (name, measure) in PARTS.iter().filter(|(name, _)| parts.contains(name)) {
        eprintln!("== {name}");
        let report = measure(&settings);
        println!("{}", report.text());
        settings.keep(&format!("{name}.md"), report.text());
    }
    println!("{}", machine::description(&settings));
    ExitCode::SUCCESS
}
