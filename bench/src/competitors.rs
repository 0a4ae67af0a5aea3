//! Those who rotate: pgsvid, and the script that it replaces. The floor is [`crate::floor`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use dev_agent::{Entry, Svid};
use pgsvid_proto::X509svidResponse;
use serde_json::Value;
use test_support::{Directory, LIMIT, Pgsvid, Program, Setup};

use crate::handshake::{Hand, rest};
use crate::load::BENCH_ACCESS;
use crate::sample::Sample;
use crate::settings::{Settings, repository};

/// The names of certificate, key and bundle.
pub(crate) const NAMES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];
/// pgsvid waits so long from one rotation to the next on purpose, which is not what is measured.
const OWN_PAUSE: Duration = Duration::from_millis(120);

/// Somebody who keeps the files of their own PostgreSQL fresh.
pub(crate) trait Competitor {
    fn name(&self) -> &'static str;

    fn setup(&self) -> &Setup;

    /// Waits until the next rotation would begin at once.
    fn ready(&self) {}

    /// Rotates to this SVID; returns how long after the push a handshake had shown its leaf.
    fn rotate(&mut self, svid: &Svid) -> Duration;

    /// The parts that it knows of what its rotations took, since this was last asked.
    fn parts(&mut self) -> Vec<(&'static str, Sample)> {
        Vec::new()
    }
}

/// A new SVID for the next program.
pub(crate) fn issue(setup: &Setup) -> Svid {
    setup.agent.issue(&Entry::new(Setup::SPIFFE_ID).dns("localhost")).expect("issues an SVID")
}

/// Sends the SVID to the program that listens to the agent.
pub(crate) fn push(setup: &Setup, svid: &Svid) {
    let svids = vec![svid.to_message()];
    setup.agent.push(&X509svidResponse { svids, ..X509svidResponse::default() });
}

/// A setup whose files are below that directory.
pub(crate) fn setup(settings: &Settings, parent: &Path) -> Setup {
    let cluster = |cluster: test_support::ClusterBuilder| {
        cluster.conf("max_connections = 140").hba(BENCH_ACCESS)
    };
    Setup::builder(&settings.pgsvid).files(Directory::below(parent)).cluster(cluster).create()
}

/// pgsvid with everything on: service file, health, sandbox.
pub(crate) struct WithPgsvid {
    pgsvid: Pgsvid,
    before: Instant,
    parts: [Sample; PARTS.len()],
    // Removed when nobody writes into it any more.
    setup: Setup,
}

/// What pgsvid's own lines tell of a rotation: from the push until it says that the identity is received, and good; the
/// publication; the reload, whose login began with the publication; the verification; and from when it says that it has
/// rotated until that is read.
const PARTS: [&str; 5] = ["receive", "publish", "reload", "verify", "tell"];

impl WithPgsvid {
    pub(crate) fn start(setup: Setup) -> Self {
        setup.configure(&format!(
            "[files]\npublish_every = '0s'\n[files.service]\nname = 'db'\n[files.service.options]\nhost = 'localhost'\n\
             [health]\nlisten = 'unix:{}'\n",
            setup.other.join("health.sock").display()
        ));
        let pgsvid = setup.start();
        Self { pgsvid, before: Instant::now(), parts: Default::default(), setup }
    }

    /// The running program.
    pub(crate) fn program(&self) -> &Pgsvid {
        &self.pgsvid
    }
}

impl Competitor for WithPgsvid {
    fn name(&self) -> &'static str {
        "pgsvid"
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn ready(&self) {
        rest(OWN_PAUSE.saturating_sub(self.before.elapsed()));
    }

    fn rotate(&mut self, svid: &Svid) -> Duration {
        self.ready();
        let mark = self.pgsvid.mark();
        let (begun, pushed) = (Instant::now(), SystemTime::now());
        push(&self.setup, svid);
        // It says so once a handshake of its own has shown the leaf, and it has taken its leave.
        let (rotated, _) = self.pgsvid.event_after(mark, "rotated");
        let (took, read) = (begun.elapsed(), SystemTime::now());
        self.before = Instant::now();
        assert_eq!(rotated["verdict"], "current", "{rotated}");
        let (received, _) = self.pgsvid.event_after(mark, "identity-received");
        let between = |from: SystemTime, to: SystemTime| {
            to.duration_since(from).unwrap_or_default().as_secs_f64() * 1e3
        };
        let field = |name: &str| rotated[name].as_f64().expect("milliseconds");
        let parts = [
            between(pushed, said_at(&received)),
            field("publish_ms"),
            field("reload_ms"),
            field("verify_ms"),
            between(said_at(&rotated), read),
        ];
        for (sample, part) in self.parts.iter_mut().zip(parts) {
            sample.push(part);
        }
        took
    }

    fn parts(&mut self) -> Vec<(&'static str, Sample)> {
        let parts = std::mem::take(&mut self.parts);
        PARTS.into_iter().zip(parts).collect()
    }
}

/// The script of examples/before, and its helper.
pub(crate) struct Script {
    name: &'static str,
    running: Program,
    _helper: Program,
    hand: Hand,
    // Removed when nobody writes into it any more.
    setup: Setup,
}

impl Script {
    /// With that psql.
    pub(crate) fn start(settings: &Settings, setup: Setup, name: &'static str, psql: &str) -> Self {
        begin(&setup);
        setup.cluster.start();
        let own = settings.own.clone();
        let directory = setup.files.path().display().to_string();
        let endpoint = setup.agent.endpoint();
        let helper = Program::spawn(own, [crate::feed::COMMAND, &endpoint, &directory], &[]);
        helper.wait_for_text(LIMIT, "written");
        let text = fs::read_to_string(repository().join("examples/before/rotate.sh"));
        // The server's account may not get through to a checkout.
        let copy = setup.other.write("rotate.sh", text.expect("reads the script"), 0o755);
        let port = setup.cluster.port().to_string();
        let host = setup.cluster.socket_directory().display().to_string();
        let script = Program::spawn(
            "/bin/bash",
            [copy.display().to_string(), directory],
            &[
                ("PSQL", psql),
                ("PGHOST", &host),
                ("PGPORT", &port),
                ("PGUSER", "pgsvid"),
                ("PGDATABASE", "postgres"),
            ],
        );
        script.wait_for_text(LIMIT, "Watches established");
        Self { name, running: script, _helper: helper, hand: Hand::new(), setup }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.running.process().kill_children();
    }
}

impl Competitor for Script {
    fn name(&self) -> &'static str {
        self.name
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn rotate(&mut self, svid: &Svid) -> Duration {
        let mark = self.running.mark();
        let begun = Instant::now();
        push(&self.setup, svid);
        // It verifies nothing, so that is done for it as soon as psql has answered.
        self.running.wait_after(mark, LIMIT, |line| line == "t");
        self.hand.until_shown(&self.setup.cluster, svid.leaf());
        begun.elapsed()
    }
}

/// When a line was said.
fn said_at(event: &Value) -> SystemTime {
    let text = event["timestamp"].as_str().expect("each line has its time");
    humantime::parse_rfc3339(text).expect("a time")
}

/// Files as plain as the script's helper leaves them, for a PostgreSQL that is to be started.
fn begin(setup: &Setup) {
    for (name, text) in NAMES.iter().zip(contents(&setup.agent.svid())) {
        setup.files.write(name, text, 0o600);
    }
}

pub(crate) fn contents(svid: &Svid) -> [String; 3] {
    [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()]
}

/// Debian's wrapper around psql, and psql itself, where they are.
pub(crate) fn psql() -> (PathBuf, PathBuf) {
    let wrapper = PathBuf::from("/usr/bin/psql");
    let is_wrapper = fs::read_link(&wrapper).is_ok_and(|to| to.ends_with("pg_wrapper"));
    assert!(is_wrapper, "/usr/bin/psql is not Debian's wrapper: install postgresql-client-common");
    (wrapper, test_support::Installation::found().program("psql"))
}
