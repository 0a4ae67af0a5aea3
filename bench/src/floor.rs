//! The floor: what nobody can go below who does as much.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use dev_agent::Svid;
use test_support::{Account, Setup};

use crate::competitors::{Competitor, NAMES, contents};
use crate::handshake::Hand;
use crate::load::Session;

/// What of pgsvid's work a floor does, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Writes, renames, signals the postmaster itself, shakes hands.
    Bare,
    /// Syncs what it writes besides.
    Synced,
    /// And asks for the reload by SQL, with a session that is being opened while it writes.
    BySql,
}

/// A loop that is handed the SVID. It receives nothing, checks nothing, and reads nothing back.
pub(crate) struct Floor {
    setup: Setup,
    level: Level,
    generation: u64,
    hand: Hand,
}

impl Floor {
    pub(crate) fn start(setup: Setup, level: Level) -> Self {
        let floor = Self { setup, level, generation: 1, hand: Hand::new() };
        for name in NAMES {
            symlink(Path::new("..data").join(name), floor.setup.files.join(name)).expect("links");
        }
        floor.publish(&floor.setup.agent.svid());
        floor.setup.cluster.start();
        floor
    }

    fn publish(&self, svid: &Svid) {
        let name = format!("..v{}", self.generation);
        let directory = self.setup.files.join(&name);
        DirBuilder::new().mode(0o755).create(&directory).expect("makes a directory");
        let files = NAMES.iter().zip(contents(svid));
        let files: Vec<_> = files.map(|(name, text)| write(&directory.join(name), &text)).collect();
        let sync = |path: &Path| {
            if self.level != Level::Bare {
                File::open(path).and_then(|file| file.sync_all()).expect("syncs a directory");
            }
        };
        if self.level != Level::Bare {
            files.iter().try_for_each(File::sync_all).expect("syncs a file");
        }
        sync(&directory);
        let (link, next) = (self.setup.files.join("..data"), self.setup.files.join("..next"));
        symlink(&name, &next).expect("links");
        fs::rename(next, link).expect("renames");
        sync(self.setup.files.path());
    }

    /// Nobody waits for that.
    fn sweep(&self) {
        let former = format!("..v{}", self.generation - 1);
        let _ = fs::remove_dir_all(self.setup.files.join(&former));
    }
}

fn write(path: &Path, text: &str) -> File {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.expect("makes a file");
    let account = Account::server();
    fchown(&file, Some(account.uid()), Some(account.gid())).expect("gives a file away");
    file.write_all(text.as_bytes()).expect("writes a file");
    file
}

impl Competitor for Floor {
    fn name(&self) -> &'static str {
        match self.level {
            Level::Bare => "floor",
            Level::Synced => "floor, with fsync",
            Level::BySql => "floor, with fsync, by SQL",
        }
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn rotate(&mut self, svid: &Svid) -> Duration {
        let begun = Instant::now();
        self.generation += 1;
        if self.level == Level::BySql {
            let mut session = thread::scope(|scope| {
                let publication = scope.spawn(|| self.publish(svid));
                let session = Session::open(&self.setup.cluster);
                publication.join().expect("publishes");
                session
            });
            session.query("SELECT pg_catalog.pg_reload_conf()");
        } else {
            self.publish(svid);
            self.setup.cluster.sighup();
        }
        self.hand.until_shown(&self.setup.cluster, svid.leaf());
        let took = begun.elapsed();
        self.sweep();
        took
    }
}
