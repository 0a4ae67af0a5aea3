//! How often it wakes while nothing happens, by the kernel's own counters.

use std::time::Duration;

use test_support::Work;

use crate::competitors::{self, WithPgsvid};
use crate::handshake::rest;
use crate::report::Report;
use crate::settings::Settings;

pub(crate) fn measure(settings: &Settings) -> Report {
    let pgsvid = WithPgsvid::start(competitors::setup(settings, &std::env::temp_dir()));
    let (quiet, watched) = if settings.short {
        (Duration::from_millis(500), Duration::from_secs(1))
    } else {
        // By then the thread that writes files has ended.
        (Duration::from_secs(15), Duration::from_secs(300))
    };
    rest(quiet);
    let process = pgsvid.program().process();
    let before = process.work();
    rest(watched);
    let Work { sleeps, preempted, busy } = process.work().since(before);
    let mut report = Report::default();
    report.table(
        &["", "wake-ups", "preempted", "CPU ms"],
        &[vec![
            format!("{} s without a rotation", watched.as_secs()),
            sleeps.to_string(),
            preempted.to_string(),
            format!("{:.1}", busy.as_secs_f64() * 1e3),
        ]],
    );
    report
}
