//! Those who rotate: pgsvid, the script that it replaces, and the floor.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dev_agent::{Entry, Svid};
use pgsvid_proto::X509svidResponse;
use test_support::{Account, Directory, LIMIT, Pgsvid, Program, Setup};

use crate::handshake::{Hand, rest};
use crate::load::BENCH_ACCESS;
use crate::settings::{Settings, repository};

/// The names of certificate, key and bundle.
const NAMES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];
/// pgsvid waits so long from one rotation to the next on purpose, which is not what is measured.
const OWN_PAUSE: Duration = Duration::from_millis(120);

/// Somebody who keeps the files of a PostgreSQL of his own fresh.
pub(crate) trait Competitor {
    fn name(&self) -> &'static str;

    fn setup(&self) -> &Setup;

    /// Rotates to this SVID; returns how long after the push a handshake had shown its leaf.
    fn rotate(&mut self, svid: &Svid) -> Duration;
}

/// A new SVID for whoever is next.
pub(crate) fn issue(setup: &Setup) -> Svid {
    setup.agent.issue(&Entry::new(Setup::SPIFFE_ID).dns("localhost")).expect("issues an SVID")
}

/// Sends the SVID to whoever listens to the agent.
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
    setup: Setup,
    pgsvid: Pgsvid,
    before: Instant,
}

impl WithPgsvid {
    pub(crate) fn start(setup: Setup) -> Self {
        setup.configure(&format!(
            "[files.service]\nname = 'db'\n[files.service.options]\nhost = 'localhost'\n\
             [health]\nlisten = 'unix:{}'\n",
            setup.other.join("health.sock").display()
        ));
        let pgsvid = setup.start();
        Self { setup, pgsvid, before: Instant::now() }
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

    fn rotate(&mut self, svid: &Svid) -> Duration {
        rest(OWN_PAUSE.saturating_sub(self.before.elapsed()));
        let mark = self.pgsvid.mark();
        let begun = Instant::now();
        push(&self.setup, svid);
        // It says so once a handshake of its own has shown the leaf, and it has taken its leave.
        let (event, _) = self.pgsvid.event_after(mark, "rotated");
        let took = begun.elapsed();
        self.before = Instant::now();
        assert_eq!(event["verdict"], "current", "{event}");
        took
    }
}

/// The script of examples/before, and its helper.
pub(crate) struct Script {
    setup: Setup,
    name: &'static str,
    running: Program,
    _helper: Program,
    hand: Hand,
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
        Self { setup, name, running: script, _helper: helper, hand: Hand::new() }
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

/// What nobody can go below: a loop that is handed the SVID, writes, renames, signals the postmaster itself and shakes
/// hands. It receives nothing, checks nothing, logs in nowhere, and survives nothing.
pub(crate) struct Floor {
    setup: Setup,
    /// Whether it syncs what it writes.
    synced: bool,
    generation: u64,
    hand: Hand,
}

impl Floor {
    pub(crate) fn start(setup: Setup, synced: bool) -> Self {
        let mut floor = Self { setup, synced, generation: 0, hand: Hand::new() };
        for name in NAMES {
            symlink(Path::new("..data").join(name), floor.setup.files.join(name)).expect("links");
        }
        floor.publish(&floor.setup.agent.svid());
        floor.setup.cluster.start();
        floor
    }

    fn publish(&mut self, svid: &Svid) {
        self.generation += 1;
        let name = format!("..v{}", self.generation);
        let directory = self.setup.files.join(&name);
        DirBuilder::new().mode(0o755).create(&directory).expect("makes a directory");
        for (name, text) in NAMES.iter().zip(contents(svid)) {
            self.write(&directory.join(name), &text);
        }
        let sync = |path: &Path| {
            if self.synced {
                fs::File::open(path).and_then(|file| file.sync_all()).expect("syncs a directory");
            }
        };
        sync(&directory);
        let (link, next) = (self.setup.files.join("..data"), self.setup.files.join("..next"));
        symlink(&name, &next).expect("links");
        fs::rename(next, link).expect("renames");
        sync(self.setup.files.path());
        if self.generation > 1 {
            let former = format!("..v{}", self.generation - 2);
            let _ = fs::remove_dir_all(self.setup.files.join(&former));
        }
    }

    fn write(&self, path: &Path, text: &str) {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.as_mut().expect("makes a file");
        let account = Account::server();
        chown(path, Some(account.uid()), Some(account.gid())).expect("gives a file away");
        file.write_all(text.as_bytes()).expect("writes a file");
        if self.synced {
            file.sync_all().expect("syncs a file");
        }
    }
}

impl Competitor for Floor {
    fn name(&self) -> &'static str {
        if self.synced { "floor, with fsync" } else { "floor" }
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn rotate(&mut self, svid: &Svid) -> Duration {
        let begun = Instant::now();
        self.publish(svid);
        self.setup.cluster.sighup();
        self.hand.until_shown(&self.setup.cluster, svid.leaf());
        begun.elapsed()
    }
}

/// Files as plain as the script's helper leaves them, for a PostgreSQL that is to be started.
fn begin(setup: &Setup) {
    for (name, text) in NAMES.iter().zip(contents(&setup.agent.svid())) {
        setup.files.write(name, text, 0o600);
    }
}

fn contents(svid: &Svid) -> [String; 3] {
    [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()]
}

/// Debian's wrapper around psql, and psql itself, where they are.
pub(crate) fn psql() -> (PathBuf, PathBuf) {
    let wrapper = PathBuf::from("/usr/bin/psql");
    let is_wrapper = fs::read_link(&wrapper).is_ok_and(|to| to.ends_with("pg_wrapper"));
    assert!(is_wrapper, "/usr/bin/psql is not Debian's wrapper: install postgresql-client-common");
    (wrapper, test_support::Installation::found().program("psql"))
}
