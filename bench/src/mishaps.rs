//! What goes wrong while somebody rotates: connections that fail, sets that are read torn or mixed, and, if somebody else
//! reloads at the wrong moment, mixtures that PostgreSQL serves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_support::{Counts, Dice, LIMIT, Psql, Reconnecting, Setup};

use crate::competitors::{self, Competitor, Script, WithPgsvid, issue, psql};
use crate::handshake::{Hand, rest};
use crate::latency::PAUSE;
use crate::ledger::{Ledger, Set, named_by, stable_names};
use crate::load::{CLIENT, make_roles};
use crate::report::Report;
use crate::sample::{Sample, figure};
use crate::settings::Settings;

/// How many rotations in a row each has.
const BLOCK: usize = 50;
/// From the beginning of one rotation to that of the next. pgsvid makes no more than ten a second.
const PACE: Duration = Duration::from_millis(140);
/// From one reading of a set to the next.
const BETWEEN_READS: Duration = Duration::from_micros(200);
/// Somebody else reloads within so many microseconds, which begin so long before the push: PostgreSQL reads its
/// configuration first, and by the end everybody has written.
const SOMEBODY_ELSE: u32 = 20_000;
const BEFORE_THE_PUSH: Duration = Duration::from_millis(5);
/// psql that connect again and again.
const CLIENTS: usize = 2;

/// How clients find the files.
#[derive(Clone, Copy)]
enum Names {
    Stable,
    ServiceFile,
}

/// Who rotates, and how clients find the files.
const WAYS: [(&str, usize, Names); 3] = [
    ("script", 0, Names::Stable),
    ("pgsvid, stable names", 1, Names::Stable),
    ("pgsvid, service file", 1, Names::ServiceFile),
];

/// What clients and readers have seen of one way.
#[derive(Default)]
struct Seen {
    rotations: usize,
    connections: Counts,
    reads: usize,
    torn: usize,
    mixed: usize,
}

/// What was served of one way while somebody else reloaded, too.
#[derive(Default)]
struct Served {
    rotations: usize,
    handshakes: usize,
    /// How long each mixture was seen, in milliseconds.
    mixtures: Sample,
}

/// The script and pgsvid, each with a rotation behind it.
fn field(settings: &Settings, ledger: &Ledger) -> [Box<dyn Competitor>; 2] {
    let parent = std::env::temp_dir();
    let setup = || competitors::setup(settings, &parent);
    let itself = psql().1.display().to_string();
    let mut field: [Box<dyn Competitor>; 2] = [
        Box::new(Script::start(settings, setup(), "script", &itself)),
        Box::new(WithPgsvid::start(setup())),
    ];
    for competitor in &mut field {
        make_roles(&competitor.setup().cluster);
        rotate(&mut **competitor, ledger, || ());
    }
    field
}

/// Rotates; `shortly_before` is called [`BEFORE_THE_PUSH`].
fn rotate(competitor: &mut dyn Competitor, ledger: &Ledger, shortly_before: impl FnOnce()) {
    let mut svid = issue(competitor.setup());
    ledger.enter(&mut svid);
    rest(PAUSE);
    competitor.ready();
    shortly_before();
    rest(BEFORE_THE_PUSH);
    competitor.rotate(&svid);
}

/// So many rotations at a steady pace.
fn rotations(count: usize, mut one: impl FnMut()) {
    for _ in 0..count {
        let begun = Instant::now();
        one();
        rest(PACE.saturating_sub(begun.elapsed()));
    }
}

/// Everybody in turns, in blocks.
fn in_blocks(often: usize, mut block: impl FnMut(usize, usize)) {
    for begun in (0..often).step_by(BLOCK) {
        for way in 0..WAYS.len() {
            block(way, BLOCK.min(often - begun));
        }
    }
}

/// Clients that connect again and again, and readers of the three files.
pub(crate) fn clients(settings: &Settings) -> Report {
    let ledger = &Ledger::default();
    let field = &mut field(settings, ledger);
    let mut report = Report::default();
    let mut seen: [Seen; 3] = Default::default();
    in_blocks(settings.often(1000, 5), |way, count| {
        let (_, who, names) = WAYS[way];
        let seen = &mut seen[way];
        let competitor = &mut *field[who];
        let psql = client(competitor.setup(), names);
        let looping: Vec<_> = (0..CLIENTS).map(|_| Reconnecting::start(psql.clone())).collect();
        let directory = competitor.setup().files.path().to_owned();
        let done = AtomicBool::new(false);
        let sets = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let service_file = directory.join("pg_service.conf");
                let mut sets = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let paths = match names {
                        Names::Stable => Some(stable_names(&directory)),
                        Names::ServiceFile => named_by(&service_file),
                    };
                    sets.push(paths.map_or(Set::Torn, |paths| ledger.read(&paths)));
                    thread::sleep(BETWEEN_READS);
                }
                sets
            });
            rotations(count, || rotate(competitor, ledger, || ()));
            done.store(true, Ordering::Relaxed);
            reader.join().expect("a reader goes on")
        });
        let many = |set| sets.iter().filter(|seen| **seen == set).count();
        seen.rotations += count;
        seen.reads += sets.len();
        seen.torn += many(Set::Torn);
        seen.mixed += many(Set::Mixed);
        for counts in looping.into_iter().map(Reconnecting::stop) {
            seen.connections.succeeded += counts.succeeded;
            for (message, times) in counts.failures {
                *seen.connections.failures.entry(message).or_default() += times;
            }
        }
    });
    report.say("Clients that connect again and again, and readers of the three files:");
    let head = [
        "",
        "rotations",
        "connections",
        "failed",
        "sets read",
        "torn",
        "mixed",
        "failed per 1,000 rotations",
        "torn or mixed per 1,000 rotations",
    ];
    let rows = WAYS.iter().zip(&seen).map(|((name, ..), seen)| {
        let failed = seen.connections.failed();
        let per_thousand = |count: f64| figure(count * 1000.0 / seen.rotations as f64);
        vec![
            (*name).to_owned(),
            seen.rotations.to_string(),
            (seen.connections.succeeded + failed).to_string(),
            failed.to_string(),
            seen.reads.to_string(),
            seen.torn.to_string(),
            seen.mixed.to_string(),
            per_thousand(failed as f64),
            per_thousand((seen.torn + seen.mixed) as f64),
        ]
    });
    report.table(&head, &rows.collect::<Vec<_>>());
    for ((name, ..), seen) in WAYS.iter().zip(&seen) {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (message, times) in &seen.connections.failures {
            // Without the paths.
            *reasons.entry(message.rsplit("\": ").next().unwrap_or(message)).or_default() += times;
        }
        for (reason, times) in reasons {
            report.say(&format!("{name}, {times} times: {}", reason.replace('\n', " ")));
        }
    }
    report
}

/// A client with the files that are published for the server.
fn client(setup: &Setup, names: Names) -> Psql {
    let psql = Psql::new()
        .user(CLIENT)
        .database("postgres")
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGPORT", setup.cluster.port().to_string());
    match names {
        Names::Stable => {
            let [certificate, key, bundle] = stable_names(setup.files.path());
            psql.env("PGHOST", "localhost")
                .env("PGSSLMODE", "verify-full")
                .env("PGSSLCERT", certificate)
                .env("PGSSLKEY", key)
                .env("PGSSLROOTCERT", bundle)
        }
        Names::ServiceFile => {
            psql.env("PGSERVICEFILE", setup.files.join("pg_service.conf")).env("PGSERVICE", "db")
        }
    }
}

/// Once in each rotation somebody else reloads, too, at any moment around the writing.
pub(crate) fn reloads(settings: &Settings) -> Report {
    let ledger = &Ledger::default();
    let field = &mut field(settings, ledger);
    let mut report = Report::default();
    let mut served: [Served; 2] = Default::default();
    let mut dice = Dice::from_seed(8);
    in_blocks(settings.often(1000, 5), |way, count| {
        // PostgreSQL's own settings name no service file.
        let (_, who, Names::Stable) = WAYS[way] else { return };
        let (competitor, served) = (&mut *field[who], &mut served[who]);
        let port = competitor.setup().cluster.port();
        let postmaster = competitor.setup().cluster.pid().try_into().ok().and_then(Pid::from_raw);
        let postmaster = postmaster.expect("the number of a process");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let looker = scope.spawn(|| look(port, ledger, &done));
            rotations(count, || {
                let moment = Duration::from_micros(dice.between(0..=SOMEBODY_ELSE).into());
                rotate(competitor, ledger, || {
                    scope.spawn(move || {
                        rest(moment);
                        let _ = kill_process(postmaster, Signal::HUP);
                    });
                });
            });
            done.store(true, Ordering::Relaxed);
            let (handshakes, mixtures) = looker.join().expect("a looker goes on");
            served.rotations += count;
            served.handshakes += handshakes;
            for mixture in mixtures {
                served.mixtures.time(mixture);
            }
        });
    });
    report.say(
        "Somebody else reloads once in each rotation, between 5 ms before and 15 ms after the push; \
         mixtures that were served:",
    );
    let head = ["", "rotations", "handshakes", "mixtures", "median ms", "longest ms"];
    let rows =
        WAYS.iter().filter(|(.., names)| matches!(names, Names::Stable)).map(|(name, who, _)| {
            let Served { rotations, handshakes, mixtures } = &served[*who];
            vec![
                (*name).to_owned(),
                rotations.to_string(),
                handshakes.to_string(),
                mixtures.values().len().to_string(),
                figure(mixtures.median()),
                figure(mixtures.quantile(1.0)),
            ]
        });
    report.table(&head, &rows.collect::<Vec<_>>());
    report
}

/// Shakes hands without a pause; returns how often, and how long each mixture lasted.
fn look(port: u16, ledger: &Ledger, done: &AtomicBool) -> (usize, Vec<Duration>) {
    let hand = Hand::new();
    let (mut handshakes, mut mixtures) = (0, Vec::new());
    let mut since: Option<Instant> = None;
    while !done.load(Ordering::Relaxed) || since.is_some() {
        let served = hand.shake(port).expect("the server answers");
        handshakes += 1;
        match (ledger.served(&served), since) {
            (Set::Torn, _) => panic!("what is served was never published"),
            (Set::Mixed, None) => since = Some(Instant::now()),
            (Set::Mixed, Some(begun)) => assert!(begun.elapsed() < LIMIT, "a mixture stays"),
            (Set::Whole, Some(begun)) => {
                mixtures.push(begun.elapsed());
                since = None;
            }
            (Set::Whole, None) => {}
        }
    }
    (handshakes, mixtures)
}
