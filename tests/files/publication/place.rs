//! The place where a test publishes: by a daemon of its own, or by the library in this process.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dev_agent::{Authority, DevAgent, Entry, Svid};
use pgsvid::material::{Expectations, Material, pem};
use pgsvid::publish::{Files, Publisher, Settings};
use pgsvid::timing;
use serde_json::Value;
use tempfile::TempDir;
use test_support::{Account, Directory, LIMIT, Mark, Program, Tmpfs, eventually};

pub(crate) const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
pub(crate) const ID: &str = "spiffe://example.org/ns/test/sa/db";
pub(crate) const NAMES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];

/// A directory, and an agent whose only SVID is published to it.
pub(crate) struct Place {
    pub(crate) agent: DevAgent,
    pub(crate) svids: PathBuf,
    pub(crate) other: Directory,
}

impl Place {
    pub(crate) fn new() -> Self {
        let other = Directory::new();
        let svids = other.subdirectory("svids");
        let entry = Entry::new(ID).dns("localhost");
        let agent =
            DevAgent::builder(other.join("agent.sock")).entry(entry).automatic(false).start();
        Self { agent: agent.unwrap(), svids, other }
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        [
            "run",
            "--endpoint",
            &self.agent.endpoint(),
            "--directory",
            &self.svids.display().to_string(),
            "--log-format",
            "json",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The path of pgsvid that the daemon's account can run.
    pub(crate) fn executable(&self) -> String {
        let copy = self.other.join("pgsvid");
        fs::copy(PGSVID, &copy).unwrap();
        set_mode(&copy, 0o755);
        copy.display().to_string()
    }

    /// Starts `pgsvid run` without any PostgreSQL.
    pub(crate) fn run(&self) -> Program {
        Program::spawn(PGSVID, self.arguments(), &[])
    }

    /// The same with a configuration file.
    pub(crate) fn run_with(&self, configuration: &str) -> Program {
        let file = self.other.write("pgsvid.toml", configuration, 0o644).display().to_string();
        Program::spawn(PGSVID, [self.arguments(), vec!["--config".to_owned(), file]].concat(), &[])
    }

    /// Starts `pgsvid run`, which has to fail, and returns what it says on standard error.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        let pgsvid = self.run();
        assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1), "{}", pgsvid.standard_error());
        pgsvid.standard_error()
    }
}

/// Waits until the daemon has published that generation.
#[track_caller]
pub(crate) fn published(pgsvid: &Program, generation: u64) -> Value {
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "published" && event["generation"] == generation
    })
}

/// Waits for the next event of that name.
#[track_caller]
pub(crate) fn said(pgsvid: &Program, mark: Mark, name: &str) -> (Value, Mark) {
    pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
}

/// A directory that the library publishes to, in this process.
pub(crate) struct Library {
    pub(crate) directory: TempDir,
    pub(crate) settings: Settings,
    pub(crate) authority: Authority,
}

impl Library {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("example.org", false).unwrap();
        Self { settings: settings(directory.path()), directory, authority }
    }

    /// A file system in memory over the directory: for many publications, because nothing is synced there.
    pub(crate) fn in_memory(&self) -> Tmpfs {
        Tmpfs::over(self.path(), "size=64m,mode=0755")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    #[track_caller]
    pub(crate) fn open(&self) -> Publisher {
        open(&self.settings)
    }

    /// Why the directory is not opened. A program that another test is just starting holds this process's locks for a moment,
    /// between `fork(2)` and `execve(2)`: only a lock that stays counts.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        let refused = || {
            let opened = Publisher::open(self.settings.clone());
            opened.err().expect("the directory was opened")
        };
        for _ in 0..5 {
            let error = refused();
            if !error.is_locked() {
                return error.to_string();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        refused().to_string()
    }

    pub(crate) fn issue(&self) -> Svid {
        self.authority.issue(&Entry::new(ID).dns("localhost")).unwrap()
    }

    /// Publishes a new SVID, and returns it with the name of its generation.
    #[track_caller]
    pub(crate) fn publish(&self, publisher: &mut Publisher) -> (Svid, String) {
        let svid = self.issue();
        let generation = publisher.publish(&material(&svid), &[]).unwrap().generation;
        (svid, generation)
    }
}

/// Opens a directory whose last publisher is gone. A process that another test was about to start at that moment has
/// inherited the lock, and keeps it until its program runs.
#[track_caller]
pub(crate) fn open(settings: &Settings) -> Publisher {
    eventually(LIMIT, "the lock is free", || match Publisher::open(settings.clone()) {
        Err(error) if error.is_locked() => None,
        opened => Some(opened.unwrap()),
    })
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        files: files(0o600),
        group: None,
        keep_at_most: 16,
        keep_until_expiry: false,
        seen_as: None,
    }
}

/// The three files, the key with this mode.
pub(crate) fn files(key_mode: u32) -> Files {
    Files::new(NAMES.map(str::to_owned), key_mode, 0o644)
}

/// The SVID as it passes the checks.
pub(crate) fn material(svid: &Svid) -> Material {
    pem::decode_material(
        svid.chain_pem().as_bytes(),
        svid.key_pem().as_bytes(),
        svid.bundle_pem().as_bytes(),
        &Expectations::default(),
        timing::now(),
    )
    .unwrap()
}

/// What is published of an SVID, in the order of [`NAMES`].
pub(crate) fn contents(svid: &Svid) -> [String; 3] {
    [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()]
}

/// Certificate, key and bundle, as a reader of the published names sees them.
#[track_caller]
pub(crate) fn read(directory: &Path) -> [String; 3] {
    NAMES.map(|name| {
        fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    })
}

/// The SVID is published: contents, links and modes are as they should be.
#[track_caller]
pub(crate) fn assert_published(directory: &Path, svid: &Svid) {
    assert!(read(directory) == contents(svid), "another set is published");
    for (name, mode) in NAMES.into_iter().zip([0o644, 0o600, 0o644]) {
        let link = fs::read_link(directory.join(name)).unwrap();
        assert_eq!(link, Path::new("..data").join(name));
        assert_eq!(mode_of(&directory.join(name)), mode, "{name}");
    }
}

/// The permission bits, through links.
pub(crate) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Name of the current generation.
pub(crate) fn current(directory: &Path) -> String {
    let target = fs::read_link(directory.join("..data")).unwrap();
    target.into_os_string().into_string().unwrap()
}

/// All names in the directory that begin so, sorted.
pub(crate) fn names(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort_unstable();
    names
}

/// Gives a path to the account that the daemon runs under.
pub(crate) fn give(path: &Path) {
    let server = Account::server();
    std::os::unix::fs::lchown(path, Some(server.uid()), Some(server.gid())).unwrap();
}

/// Writes a file in place, as editors and other helpers do; it is made if it does not exist.
#[track_caller]
pub(crate) fn write(path: &Path, text: &str) {
    fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
}

#[track_caller]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Says that it is done when it goes, also by a panic: threads that wait for it would wait for ever.
pub(crate) struct Done<'a>(pub(crate) &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
