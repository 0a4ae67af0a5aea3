//! What it takes of the machine, after the start and after a thousand rotations.

use std::fs;
use std::path::Path;
use std::time::Duration;

use test_support::Memory;

use crate::competitors::{self, Competitor as _, WithPgsvid};
use crate::handshake::rest;
use crate::plot;
use crate::report::Report;
use crate::sample::figure;
use crate::settings::Settings;

/// The thread that writes files ends ten seconds after it was last needed.
const QUIET: Duration = Duration::from_secs(12);

pub(crate) fn measure(settings: &Settings) -> Report {
    let setup = competitors::setup(settings, &std::env::temp_dir());
    let mut pgsvid = WithPgsvid::start(setup);
    let rotations = settings.often(1000, 20);
    let quiet = if settings.short { Duration::from_millis(200) } else { QUIET };
    rest(quiet);
    let mut rows = vec![state("after the start", &pgsvid)];
    let mut course = vec![(0.0, mebibytes(pgsvid.program().process().memory().resident))];
    for rotation in 1..=rotations {
        let svid = competitors::issue(pgsvid.setup());
        pgsvid.rotate(&svid);
        if rotation % 10 == 0 {
            course.push((rotation as f64, mebibytes(pgsvid.program().process().memory().resident)));
        }
    }
    rest(quiet);
    rows.push(state(&format!("after {rotations} rotations"), &pgsvid));
    let mut report = Report::default();
    let head = ["", "resident MiB", "private MiB", "threads", "descriptors"];
    report.table(&head, &rows);
    report.say(&format!(
        "The binary has {} MB; {}.",
        figure(size(&settings.pgsvid) as f64 / 1e6),
        "everything is on: service file, health, sandbox",
    ));
    let title = "Resident memory in MiB over rotations";
    let note = "read right after a rotation, every tenth";
    settings.keep("footprint.svg", &plot::line(title, note, &course));
    report
}

fn state(name: &str, pgsvid: &WithPgsvid) -> Vec<String> {
    let process = pgsvid.program().process();
    let Memory { resident, private, .. } = process.memory();
    let mut row = vec![name.to_owned()];
    row.extend([resident, private].map(|kibibytes| figure(mebibytes(kibibytes))));
    row.extend([process.threads().len(), process.descriptors()].map(|count| count.to_string()));
    row
}

pub(crate) fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("the program").len()
}
