//! How the cost grows: with the bundle, the chain, the key, the number of daemons, and the number of updates.

use std::time::{Duration, Instant};

use dev_agent::{Authority, KeyType};
use pgsvid_proto::X509svidResponse;
use test_support::{Directory, LIMIT, Mark, Program, Setup};

use crate::chain;
use crate::competitors::{self, Competitor as _, WithPgsvid, issue};
use crate::footprint::mebibytes;
use crate::handshake::{Hand, rest};
use crate::plot;
use crate::report::Report;
use crate::sample::{Sample, figure};
use crate::settings::Settings;

/// pgsvid waits a tenth of a second from one rotation to the next.
const PAUSE: Duration = Duration::from_millis(120);

pub(crate) fn measure(settings: &Settings) -> Report {
    let mut report = Report::default();
    messages(settings, &mut report);
    daemons(settings, &mut report);
    updates(settings, &mut report);
    report
}

/// Makes a message of one kind.
type Make<'a> = Box<dyn Fn() -> X509svidResponse + 'a>;

/// One larger message after another, taking turns.
fn messages(settings: &Settings, report: &mut Report) {
    let pgsvid = WithPgsvid::start(competitors::setup(settings, &std::env::temp_dir()));
    let setup = pgsvid.setup();
    let often = settings.often(20, 1);
    let largest = settings.often(1000, 10);
    let others: Vec<Authority> =
        (1..largest).map(|_| Authority::new("example.org", false).expect("an authority")).collect();
    let mut kinds: Vec<(String, Make<'_>)> = Vec::new();
    let sizes = [1, 10, 100, 300, 1000].into_iter().filter(|size| *size <= largest);
    for size in sizes.clone() {
        let others = &others;
        let make = move || chain::with_bundle(&issue(setup), &others[..size - 1]);
        kinds.push((format!("bundle of {size}"), Box::new(make)));
    }
    for length in 1..=5 {
        kinds.push((format!("chain of {length}"), Box::new(move || chain::of_length(length).1)));
    }
    for kind in KeyType::ALL {
        let make = move || {
            let svid = setup.agent.issue(&chain::entry().key_type(kind)).expect("issues");
            chain::with_bundle(&svid, &[])
        };
        kinds.push((format!("key {kind}"), Box::new(make)));
    }
    let mut samples: Vec<[Sample; 4]> = vec![Default::default(); kinds.len()];
    let mut verdicts = vec![String::new(); kinds.len()];
    for _ in 0..often {
        for (((_, make), samples), verdict) in kinds.iter().zip(&mut samples).zip(&mut verdicts) {
            let message = make();
            rest(PAUSE);
            let mark = pgsvid.program().mark();
            let begun = Instant::now();
            setup.agent.push(&message);
            // Rotated, or what is wrong.
            let (event, _) = pgsvid.program().wait_for_event_after(mark, LIMIT, |event| {
                event["verdict"].is_string() || event["level"] == "WARN"
            });
            samples[0].time(begun.elapsed());
            for (sample, field) in
                samples[1..].iter_mut().zip(["publish_ms", "reload_ms", "verify_ms"])
            {
                // What is refused has none.
                if let Some(time) = event[field].as_f64() {
                    sample.push(time);
                }
            }
            event["verdict"].as_str().unwrap_or("refused").clone_into(verdict);
        }
    }
    let course: Vec<_> = sizes
        .zip(samples.iter().zip(&verdicts))
        .filter(|(_, (_, verdict))| *verdict == "current")
        .map(|(size, ([whole, ..], _))| (size as f64, whole.median()))
        .collect();
    let title = "Milliseconds from the push to the proof, over authorities in the bundle";
    settings.keep("growth.svg", &plot::line(title, "medians", &course));
    let rows: Vec<_> = kinds
        .iter()
        .zip(&samples)
        .zip(&verdicts)
        .map(|(((name, _), [whole, publish, reload, verify]), verdict)| {
            let mut row = vec![name.clone(), verdict.clone()];
            row.extend(whole.cells());
            row.extend([publish, reload, verify].map(|sample| figure(sample.median())));
            row
        })
        .collect();
    let head = ["", "verdict", "median ms", "p99 ms", "n", "publish ms", "reload ms", "verify ms"];
    report.table(&head, &rows);
    let resident = mebibytes(pgsvid.program().process().memory().resident);
    report.say(&format!("Resident after these: {} MiB.", figure(resident)));
}

/// Many daemons on one machine: of clients with one agent, and with a PostgreSQL for each.
fn daemons(settings: &Settings, report: &mut Report) {
    let often = settings.often(20, 1);
    let mut rows = Vec::new();
    for count in [1, 10, 100].into_iter().take(settings.often(3, 2)) {
        let setup = Setup::new(&settings.pgsvid);
        let places: Vec<_> = (0..count).map(|_| Directory::new()).collect();
        let started = |files: &Directory| {
            let arguments = [
                "run",
                "--endpoint",
                &setup.agent.endpoint(),
                "--directory",
                &files.path().display().to_string(),
                "--log-format",
                "json",
            ];
            Program::spawn(&settings.pgsvid, arguments, &[])
        };
        let programs: Vec<_> = places.iter().map(started).collect();
        let all = |marks: &[Mark]| {
            for (program, mark) in programs.iter().zip(marks) {
                program.wait_for_event_after(*mark, LIMIT, |event| event["event"] == "published");
            }
        };
        all(&vec![Mark::default(); count]);
        let mut sample = Sample::default();
        for _ in 0..often {
            rest(PAUSE);
            let marks: Vec<_> = programs.iter().map(Program::mark).collect();
            let begun = Instant::now();
            competitors::push(&setup, &issue(&setup));
            all(&marks);
            sample.time(begun.elapsed());
        }
        let share: u64 = programs.iter().map(|program| program.process().memory().share).sum();
        rows.push(of_many(&format!("{count} that publish for clients"), &sample, share, count));
    }
    for count in [1, 10].into_iter().take(settings.often(2, 1)) {
        let all: Vec<_> = (0..count)
            .map(|_| WithPgsvid::start(competitors::setup(settings, &std::env::temp_dir())))
            .collect();
        let mut sample = Sample::default();
        for _ in 0..often {
            rest(PAUSE);
            let marks: Vec<_> = all.iter().map(|one| one.program().mark()).collect();
            let svids: Vec<_> = all.iter().map(|one| issue(one.setup())).collect();
            let begun = Instant::now();
            for (one, svid) in all.iter().zip(&svids) {
                competitors::push(one.setup(), svid);
            }
            for (one, mark) in all.iter().zip(marks) {
                one.program()
                    .wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "current");
            }
            sample.time(begun.elapsed());
        }
        let share: u64 = all.iter().map(|one| one.program().process().memory().share).sum();
        rows.push(of_many(&format!("{count} with a PostgreSQL each"), &sample, share, count));
    }
    report.say(
        "Daemons on one machine, all of which get a new SVID at once, until the last is done:",
    );
    let head = ["", "median ms", "p99 ms", "n", "memory of all MiB", "of each MiB"];
    report.table(&head, &rows);
}

fn of_many(name: &str, sample: &Sample, share: u64, count: usize) -> Vec<String> {
    let mut row = crate::report::row(name, sample);
    row.extend([mebibytes(share), mebibytes(share) / count as f64].map(figure));
    row
}

/// An agent gone wild.
fn updates(settings: &Settings, report: &mut Report) {
    let pgsvid = WithPgsvid::start(competitors::setup(settings, &std::env::temp_dir()));
    let renewals = settings.often(60_000, 1000);
    let setup = pgsvid.setup();
    let process = pgsvid.program().process();
    let before = (process.work(), pgsvid.program().events("rotated").len());
    let issued = setup.agent.activity().issued;
    let begun = Instant::now();
    let count = u32::try_from(renewals).expect("it is small");
    setup.agent.storm(count, Duration::from_millis(1));
    let mut most = 0;
    let wanted = issued + u64::from(count);
    while setup.agent.activity().issued < wanted {
        most = most.max(process.memory().resident);
        rest(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(600), "the agent does not keep up");
    }
    let lasted = begun.elapsed();
    let hand = Hand::new();
    hand.until_shown(&setup.cluster, setup.agent.svid().leaf());
    let after = begun.elapsed().saturating_sub(lasted);
    let work = process.work().since(before.0);
    let rotations = pgsvid.program().events("rotated").len() - before.1;
    report.say(&format!(
        "{renewals} updates in {} s: {rotations} rotations, {} s of CPU, {} MiB resident at most; the newest was served \
         {} ms after the last update.",
        figure(lasted.as_secs_f64()),
        figure(work.busy.as_secs_f64()),
        figure(mebibytes(most)),
        figure(after.as_secs_f64() * 1e3),
    ));
}
