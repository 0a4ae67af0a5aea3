//! From the agent's push to the first handshake that shows the new leaf.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use test_support::Cluster;

use crate::competitors::{self, Competitor, Script, WithPgsvid, psql};
use crate::floor::{Floor, Level};
use crate::handshake::{Hand, rest};
use crate::load::{Idle, Storm, make_roles};
use crate::machine::file_system;
use crate::plot::{Strip, strips};
use crate::report::{Report, row};
use crate::sample::{Sample, figure};
use crate::settings::Settings;

/// How many rotations in a row each has where a storm has to be begun for it.
const BLOCK: usize = 10;
/// Before each turn, for what the one before has left to do.
pub(crate) const PAUSE: Duration = Duration::from_millis(15);

/// What else PostgreSQL has to do meanwhile.
#[derive(Clone, Copy)]
enum Load {
    Idle(usize),
    Storm,
}

impl Load {
    fn name(self) -> String {
        match self {
            Self::Idle(count) => format!("{count} idle sessions"),
            Self::Storm => "8 clients that connect again and again".to_owned(),
        }
    }
}

pub(crate) fn measure(settings: &Settings) -> Report {
    let mut report = Report::default();
    for parent in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let medium = file_system(&parent);
        let mut field = field(settings, &parent);
        for competitor in &field {
            make_roles(&competitor.setup().cluster);
        }
        let mut plotted = Vec::new();
        for load in [Load::Idle(0), Load::Idle(90), Load::Storm] {
            let often = settings.often(200, 3);
            let samples = run(&mut field, load, often);
            table(&mut report, &medium, load, &field, &samples);
            for competitor in &mut field {
                parts(&mut report, &mut **competitor);
            }
            if matches!(load, Load::Idle(0)) {
                handshakes(&mut report, &field[0].setup().cluster, often);
            }
            let names = field.iter().map(|competitor| competitor.name());
            plotted.extend(names.zip(samples).map(|(name, sample)| Strip {
                group: load.name(),
                name: name.to_owned(),
                sample,
            }));
        }
        let title = format!("Milliseconds from the agent's push to the proof, files on {medium}");
        settings.keep(
            &format!("latency-{medium}.svg"),
            &strips(&title, "each rotation a dot", &plotted),
        );
    }
    report
}

/// Everybody who takes part, each with a PostgreSQL and an agent of its own.
fn field(settings: &Settings, parent: &Path) -> Vec<Box<dyn Competitor>> {
    let setup = || competitors::setup(settings, parent);
    let (wrapper, itself) = psql();
    let script = |name, psql: &Path| {
        Box::new(Script::start(settings, setup(), name, &psql.display().to_string()))
    };
    vec![
        Box::new(Floor::start(setup(), Level::Bare)),
        Box::new(Floor::start(setup(), Level::Synced)),
        Box::new(Floor::start(setup(), Level::BySql)),
        Box::new(WithPgsvid::start(setup())),
        script("script, psql itself", &itself),
        script("script, Debian's psql", &wrapper),
    ]
}

fn run(field: &mut [Box<dyn Competitor>], load: Load, often: usize) -> Vec<Sample> {
    let mut samples = vec![Sample::default(); field.len()];
    match load {
        Load::Idle(count) => {
            let clusters = field.iter().map(|competitor| &competitor.setup().cluster);
            let _sessions: Vec<_> = clusters.map(|cluster| Idle::open(cluster, count)).collect();
            for _ in 0..often {
                for (competitor, sample) in field.iter_mut().zip(&mut samples) {
                    turn(&mut **competitor, sample);
                }
            }
        }
        Load::Storm => {
            for begun in (0..often).step_by(BLOCK) {
                for (competitor, sample) in field.iter_mut().zip(&mut samples) {
                    let setup = competitor.setup();
                    let script = setup.other.write("one.sql", "SELECT 1;\n", 0o644);
                    let _storm = Storm::start(&setup.cluster, &script);
                    for _ in begun..often.min(begun + BLOCK) {
                        turn(&mut **competitor, sample);
                    }
                }
            }
        }
    }
    samples
}

fn turn(competitor: &mut dyn Competitor, sample: &mut Sample) {
    let svid = competitors::issue(competitor.setup());
    rest(PAUSE);
    sample.time(competitor.rotate(&svid));
}

fn table(
    report: &mut Report,
    medium: &str,
    load: Load,
    field: &[Box<dyn Competitor>],
    samples: &[Sample],
) {
    report.say(&format!("Files on {medium}, {}:", load.name()));
    let rows: Vec<_> = field
        .iter()
        .zip(samples)
        .map(|(competitor, sample)| {
            let mut row = row(competitor.name(), sample);
            for floor in &samples[..3] {
                row.push(figure(sample.median() / floor.median()));
                row.push(figure(sample.p99() / floor.p99()));
            }
            row
        })
        .collect();
    let head = [
        "",
        "median ms",
        "p99 ms",
        "n",
        "median × floor",
        "p99 × floor",
        "median × floor with fsync",
        "p99 × floor with fsync",
        "median × floor by SQL",
        "p99 × floor by SQL",
    ];
    report.table(&head, &rows);
}

/// What of a rotation is the handshake itself.
fn handshakes(report: &mut Report, cluster: &Cluster, often: usize) {
    let hand = Hand::new();
    let mut sample = Sample::default();
    for _ in 0..often {
        rest(PAUSE);
        let begun = Instant::now();
        hand.shake(cluster.port()).expect("the server answers");
        sample.time(begun.elapsed());
    }
    let [median, p99, count] = sample.cells();
    report.say(&format!(
        "A handshake without a reload (median / p99 ms): {median} / {p99}, of {count}."
    ));
}

fn parts(report: &mut Report, competitor: &mut dyn Competitor) {
    let parts = competitor.parts();
    if parts.is_empty() {
        return;
    }
    let each = parts.iter().map(|(name, sample)| {
        format!("{name} {} / {}", figure(sample.median()), figure(sample.p99()))
    });
    let each = each.collect::<Vec<_>>().join(", ");
    report.say(&format!("{} (median / p99 ms): {each}.", competitor.name()));
}
