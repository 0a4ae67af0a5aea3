//! The usual trio: an agent, a PostgreSQL, and pgsvid between them.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dev_agent::{DevAgent, Entry};
use serde_json::Value;

use crate::{Account, Cluster, ClusterBuilder, Directory, Mark, Program, WallClock, eventually};

/// How long tests wait for anything: far longer than it takes, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A running agent, a PostgreSQL that does not run yet, and the directory where pgsvid publishes.
///
/// ```no_run
/// # let binary = "/path/to/pgsvid";
/// use test_support::Setup;
///
/// let setup = Setup::builder(binary).agent(|agent| agent.intermediate(true)).create();
/// setup.configure("[postgres]\nverify_every = '1s'");
/// let pgsvid = setup.start();
/// setup.agent.rotate().unwrap();
/// pgsvid.current(2);
/// ```
#[derive(Debug)]
pub struct Setup {
    /// Offers [`Setup::SPIFFE_ID`], and renews only on request.
    pub agent: DevAgent,
    /// Has the role `pgsvid`, and its TLS settings name the published files.
    pub cluster: Cluster,
    /// Where pgsvid publishes.
    pub files: Directory,
    /// For the agent's socket, the configuration, and whatever a test needs.
    pub other: Directory,
    binary: PathBuf,
}

/// A [`Setup`] to be created.
#[derive(Debug)]
pub struct SetupBuilder {
    agent: dev_agent::Builder,
    cluster: ClusterBuilder,
    files: Directory,
    other: Directory,
    binary: PathBuf,
}

impl SetupBuilder {
    /// Changes the agent, which does not renew by itself, and has one entry.
    #[must_use]
    pub fn agent(mut self, change: impl FnOnce(dev_agent::Builder) -> dev_agent::Builder) -> Self {
        self.agent = change(self.agent);
        self
    }

    /// Changes the server.
    #[must_use]
    pub fn cluster(mut self, change: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Self {
        self.cluster = change(self.cluster);
        self
    }

    /// Publishes to this directory.
    #[must_use]
    pub fn files(mut self, files: Directory) -> Self {
        self.cluster = self.cluster.tls_files(files.path());
        self.files = files;
        self
    }

    /// Starts the agent, and creates the server without starting it.
    #[track_caller]
    pub fn create(self) -> Setup {
        let setup = self.create_bare();
        setup.cluster.prepare_role();
        setup
    }

    /// Creates the setup without the role `pgsvid` on the server.
    #[track_caller]
    pub fn create_bare(self) -> Setup {
        let Self { agent, cluster, files, other, binary } = self;
        let cluster = cluster.create();
        let agent = agent.start().expect("starts the agent");
        let setup = Setup { agent, cluster, files, other, binary };
        setup.configure("");
        setup
    }
}

impl Setup {
    /// The SPIFFE ID of the agent's only entry. Its DNS name is `localhost`.
    pub const SPIFFE_ID: &str = "spiffe://example.org/ns/test/sa/db";

    /// A setup to be changed; the path is `env!("CARGO_BIN_EXE_pgsvid")`.
    pub fn builder(binary: impl AsRef<Path>) -> SetupBuilder {
        let (files, other) = (Directory::new(), Directory::new());
        SetupBuilder {
            agent: DevAgent::builder(other.join("agent.sock"))
                .entry(Entry::new(Self::SPIFFE_ID).dns("localhost"))
                .automatic(false),
            cluster: Cluster::builder().tls_files(files.path()),
            files,
            other,
            binary: binary.as_ref().to_owned(),
        }
    }

    /// The usual setup; the path is `env!("CARGO_BIN_EXE_pgsvid")`.
    #[track_caller]
    pub fn new(binary: impl AsRef<Path>) -> Self {
        Self::builder(binary).create()
    }

    /// Replaces pgsvid's configuration file. The command line sets endpoint, directory, socket, port and log format.
    pub fn configure(&self, toml: &str) {
        self.other.write("pgsvid.toml", toml, 0o644);
    }

    /// Starts `pgsvid run`.
    #[track_caller]
    pub fn spawn(&self) -> Pgsvid {
        self.spawn_with(&[])
    }

    /// Starts `pgsvid run` with more arguments.
    #[track_caller]
    pub fn spawn_with(&self, more: &[&str]) -> Pgsvid {
        self.spawn_as(Account::server(), more)
    }

    /// Starts `pgsvid run` without some of the usual flags.
    #[track_caller]
    pub fn spawn_leaving_out(&self, flags: &[&str]) -> Pgsvid {
        let arguments = self.arguments();
        let left = arguments.chunks(2).filter(|pair| !flags.contains(&pair[0].as_str()));
        self.spawn_given(left.flatten())
    }

    /// Starts `pgsvid run` with these arguments instead of the usual ones.
    #[track_caller]
    pub fn spawn_given<'a>(&self, arguments: impl IntoIterator<Item = &'a String>) -> Pgsvid {
        let arguments = ["run"].into_iter().chain(arguments.into_iter().map(String::as_str));
        Pgsvid(Program::spawn_as(Account::server(), &self.binary, arguments, &[]))
    }

    /// Starts `pgsvid run` as another account; only root can choose a foreign one.
    #[track_caller]
    pub fn spawn_as(&self, account: &Account, more: &[&str]) -> Pgsvid {
        let arguments = self.arguments();
        // A flag may be given once: the test's own replaces the usual one.
        let usual = arguments.chunks(2).filter(|pair| !more.contains(&pair[0].as_str())).flatten();
        let arguments = usual.map(String::as_str).chain(more.iter().copied());
        let arguments = ["run"].into_iter().chain(arguments);
        Pgsvid(Program::spawn_as(account, &self.binary, arguments, &[]))
    }

    /// Starts `pgsvid run` with this wall clock.
    #[track_caller]
    pub fn spawn_with_clock(&self, clock: &WallClock) -> Pgsvid {
        let arguments = ["run".to_owned()].into_iter().chain(self.arguments());
        let variables = clock.variables();
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        Pgsvid(Program::spawn(&self.binary, arguments, &variables))
    }

    /// The arguments that follow the command: configuration, endpoint, directory, socket, port, and
    /// a log in JSON.
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        [
            ("--config", path(&self.other.join("pgsvid.toml"))),
            ("--endpoint", self.agent.endpoint()),
            ("--directory", path(self.files.path())),
            ("--postgres", path(self.cluster.socket_directory())),
            ("--port", self.cluster.port().to_string()),
            ("--log-format", "json".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    /// Starts pgsvid, then PostgreSQL, and waits until the first generation is served.
    #[track_caller]
    pub fn start(&self) -> Pgsvid {
        let pgsvid = self.spawn();
        self.wait_published();
        self.cluster.start();
        pgsvid.current(1);
        pgsvid
    }

    /// Waits until PostgreSQL can be started with the published set.
    #[track_caller]
    pub fn wait_published(&self) {
        // The last link that pgsvid creates is the bundle's, or a service file's.
        eventually(LIMIT, "all files are published", || {
            ["svid.pem", "svid_key.pem", "svid_bundle.pem"]
                .iter()
                .all(|name| self.files.join(name).exists())
        });
    }
}

/// A pgsvid that logs in JSON.
#[derive(Debug)]
pub struct Pgsvid(Program);

impl Pgsvid {
    /// Waits for the first event of this name.
    #[track_caller]
    pub fn event(&self, name: &str) -> Value {
        self.event_after(Mark::default(), name).0
    }

    /// Waits for the next event of this name, and returns its end.
    #[track_caller]
    pub fn event_after(&self, mark: Mark, name: &str) -> (Value, Mark) {
        self.0.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
    }

    /// Waits for the first line with this message. Lines of level debug have no event names.
    #[track_caller]
    pub fn message(&self, message: &str) -> Value {
        self.message_after(Mark::default(), message).0
    }

    /// Waits for the next line with this message, and returns its end.
    #[track_caller]
    pub fn message_after(&self, mark: Mark, message: &str) -> (Value, Mark) {
        self.0.wait_for_event_after(mark, LIMIT, |event| event["message"] == message)
    }

    /// Waits for the verdict on a generation.
    #[track_caller]
    pub fn rotated(&self, generation: u64) -> Value {
        self.0.wait_for_event(LIMIT, |event| {
            event["event"] == "rotated" && event["generation"] == generation
        })
    }

    /// Waits for the verdict on a generation, which must be `current`.
    #[track_caller]
    pub fn current(&self, generation: u64) -> Value {
        let event = self.rotated(generation);
        assert_eq!(event["verdict"], "current", "{event}");
        event
    }

    /// Waits for the next event at the level ERROR, and returns its end.
    #[track_caller]
    pub fn alarm_after(&self, mark: Mark) -> (Value, Mark) {
        self.0.wait_for_event_after(mark, LIMIT, |event| event["level"] == "ERROR")
    }

    /// All lines so far with this message.
    pub fn messages(&self, message: &str) -> Vec<Value> {
        let lines = self.0.lines();
        let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    /// All events so far of this name.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.0.lines();
        let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }
}

impl Deref for Pgsvid {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}
