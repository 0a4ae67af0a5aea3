//! Throw-away PostgreSQL servers.

mod builder;
mod configure;
mod control;
mod served;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

pub use self::builder::ClusterBuilder;
pub use self::control::Mode;
pub use self::served::{Served, subject};
use crate::eventually::within;
use crate::{Account, Directory, Installation, Psql};

/// A PostgreSQL server in a temporary directory, on a Unix socket and a port of 127.0.0.1. It runs as [`Account::server`] and
/// ends with the value, or with the test process.
///
/// The database superuser is `postgres`, which peer authentication lets in from the server's account
/// whatever the test writes into `pg_hba.conf`. No TCP connection is admitted at first.
#[derive(Debug)]
pub struct Cluster {
    directory: Directory,
    socket_directory: PathBuf,
    port: AtomicU16,
    /// Whether a caller knows the port: then it must not change any more.
    port_is_known: AtomicBool,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl Cluster {
    /// A cluster to be configured.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A running cluster with the initial configuration, without TLS.
    pub fn new() -> Self {
        Self::builder().start()
    }

    /// The directory of its socket: the value of `PGHOST`.
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// Its port, of the socket and of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port_is_known.store(true, Ordering::SeqCst);
        self.port.load(Ordering::SeqCst)
    }

    /// `127.0.0.1:port`, where it serves TLS.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The directory of `postgresql.conf` and everything else.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The server's user ID.
    pub fn uid(&self) -> u32 {
        Account::server().uid()
    }

    /// The server's group ID.
    pub fn gid(&self) -> u32 {
        Account::server().gid()
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        Installation::found().version()
    }

    /// The server log, of all its runs.
    pub fn log(&self) -> String {
        self.log_since(0)
    }

    /// The end of the log as it is now, for [`Cluster::log_since`].
    pub fn log_mark(&self) -> usize {
        fs::metadata(self.log_path()).map_or(0, |status| {
            usize::try_from(status.len()).expect("a log shorter than the memory")
        })
    }

    /// What was logged after the mark.
    pub fn log_since(&self, mark: usize) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(log.get(mark..).unwrap_or_default()).into_owned()
    }

    /// Waits until a line logged after the mark contains the text, and returns that line.
    #[track_caller]
    pub fn wait_for_log(&self, mark: usize, limit: Duration, text: &str) -> String {
        let found = within(limit, || {
            let log = self.log_since(mark);
            log.lines().find(|line| line.contains(text)).map(str::to_owned)
        });
        found.unwrap_or_else(|| {
            panic!("not logged within {limit:?}: {text:?}; instead:\n{}", self.log_since(mark))
        })
    }

    /// psql for this server's socket; user and database are not chosen yet.
    pub fn psql(&self) -> Psql {
        Psql::new()
            .env("PGHOST", &self.socket_directory)
            .env("PGPORT", self.port().to_string())
            // If a server hangs, only its own test fails, long before the time limit of all tests.
            .env("PGCONNECT_TIMEOUT", "10")
    }

    /// psql over TCP as this role, with the certificate in `directory` and all checks on; `more` is added to the connection
    /// string.
    pub fn client(&self, directory: &Path, role: &str, more: &str) -> Psql {
        let directory = directory.display();
        Psql::new().env("PGCONNECT_TIMEOUT", "10").arg("-w").arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={role} dbname=postgres sslmode=verify-full \
             sslcert={directory}/svid.pem sslkey={directory}/svid_key.pem \
             sslrootcert={directory}/svid_bundle.pem {more}",
            self.port()
        ))
    }

    /// The answer to the statements: columns separated by `|`, one row a line. Each statement is executed separately, as
    /// `ALTER SYSTEM` requires.
    #[track_caller]
    pub fn sql(&self, user: &str, database: &str, text: &str) -> String {
        self.try_sql(user, database, text)
            .unwrap_or_else(|error| panic!("{text:?} failed: {error}\nserver log:\n{}", self.log()))
    }

    /// Those of `methods` that the server was built without: it refuses a line of `pg_hba.conf` that names one.
    #[must_use]
    pub fn lacks(&self, methods: &[&'static str]) -> Vec<&'static str> {
        let built = "SELECT setting FROM pg_catalog.pg_config WHERE name = 'CONFIGURE'";
        let built = self.sql("postgres", "postgres", built);
        methods.iter().copied().filter(|it| !built.contains(&format!("--with-{it}"))).collect()
    }

    /// The answer to the statements, or psql's standard error.
    pub fn try_sql(&self, user: &str, database: &str, text: &str) -> Result<String, String> {
        let output = self.psql().user(user).database(database).script(text).run();
        if !output.status.success() {
            return Err(output.stderr);
        }
        Ok(output.stdout)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
