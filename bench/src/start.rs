//! How long a start takes: ours, and that of PostgreSQL.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use test_support::{Account, Directory, LIMIT, Mode, Program, Setup};

use crate::plot::{self, Strip};
use crate::report::{Report, row};
use crate::sample::Sample;
use crate::settings::Settings;

/// How often somebody looks.
const LOOK: Duration = Duration::from_micros(100);

pub(crate) fn measure(settings: &Settings) -> Report {
    let setup = Setup::new(&settings.pgsvid);
    let mut samples = [Sample::default(), Sample::default(), Sample::default()];
    for _ in 0..settings.often(100, 2) {
        samples[0].time(published(settings, &setup));
        samples[1].time(fetched(settings, &setup));
    }
    let pgsvid = setup.start();
    for _ in 0..settings.often(50, 1) {
        setup.cluster.stop(Mode::Fast);
        let mark = pgsvid.mark();
        setup.agent.rotate().expect("rotates");
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "unreachable");
        setup.cluster.start_without_waiting();
        let address = setup.cluster.address();
        until(|| TcpStream::connect(&address).is_ok());
        let begun = Instant::now();
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "current");
        samples[2].time(begun.elapsed());
    }
    let mut report = Report::default();
    let names = [
        "exec of `pgsvid run` → a published set, agent ready",
        "exec of `pgsvid fetch` → its end",
        "PostgreSQL's first listening → `current`",
    ];
    let rows: Vec<_> =
        names.into_iter().zip(&samples).map(|(name, sample)| row(name, sample)).collect();
    report.table(&["", "median ms", "p99 ms", "n"], &rows);
    let strips: Vec<_> = names
        .into_iter()
        .zip(samples)
        .map(|(name, sample)| Strip { group: name.replace('`', ""), name: String::new(), sample })
        .collect();
    settings
        .keep("start.svg", &plot::strips("Milliseconds of a start", "each start a dot", &strips));
    report
}

/// A daemon with an empty directory, until its last link is there.
fn published(settings: &Settings, setup: &Setup) -> Duration {
    let files = Directory::new();
    let mut command = command(settings, setup, &files);
    let begun = Instant::now();
    let mut daemon = command.arg("run").spawn().expect("runs pgsvid");
    until(|| files.join("svid_bundle.pem").exists());
    let took = begun.elapsed();
    daemon.kill().and_then(|()| daemon.wait()).expect("ends a child");
    took
}

fn fetched(settings: &Settings, setup: &Setup) -> Duration {
    let files = Directory::new();
    let mut command = command(settings, setup, &files);
    let begun = Instant::now();
    assert!(command.arg("fetch").status().expect("runs pgsvid").success(), "it fetches");
    begun.elapsed()
}

fn command(settings: &Settings, setup: &Setup, files: &Directory) -> Command {
    let mut command = Command::new(Program::reachable(&settings.pgsvid));
    let account = Account::server();
    command
        .env("PGSVID_ENDPOINT", setup.agent.endpoint())
        .env("PGSVID_DIRECTORY", files.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if account != Account::current() {
        command.uid(account.uid()).gid(account.gid());
    }
    command
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "it does not start");
        std::thread::sleep(LOOK);
    }
}
