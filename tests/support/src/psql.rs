//! psql, the client that everybody has.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use crate::{Account, ConnectLoop, Installation, spawn};

/// A run of psql as [`Account::server`], without any variables of the test's environment that libpq reads: only [`Psql::env`]
/// and [`Psql::arg`] decide what it does.
///
/// It is psql itself, not Debian's wrapper, which would look for clusters of the system.
#[derive(Debug, Clone, Default)]
pub struct Psql {
    variables: Vec<(OsString, OsString)>,
    arguments: Vec<OsString>,
    script: String,
}

/// The result of a run of psql.
#[derive(Debug, Clone)]
pub struct PsqlOutput {
    /// 0 done, 1 error of psql, 2 no connection, 3 the script failed.
    pub status: ExitStatus,
    /// Rows, one a line, columns separated by `|`; without the last newline.
    pub stdout: String,
    /// Errors and notices; without the last newline.
    pub stderr: String,
}

impl Psql {
    /// psql without any connection parameter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable such as `PGSERVICEFILE`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Adds an argument, such as a connection string.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Logs in as this role.
    #[must_use]
    pub fn user(self, name: &str) -> Self {
        self.env("PGUSER", name)
    }

    /// Connects to this database.
    #[must_use]
    pub fn database(self, name: &str) -> Self {
        self.env("PGDATABASE", name)
    }

    /// The script; each statement is sent separately.
    #[must_use]
    pub fn script(mut self, text: &str) -> Self {
        text.clone_into(&mut self.script);
        self
    }

    /// Connects, executes the script up to its first error, and ends.
    pub fn run(&self) -> PsqlOutput {
        let psql = Installation::found().program("psql");
        let mut child = spawn::command(&psql, Account::server())
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs psql");
        // Without a connection psql ends before it has read anything.
        let mut input = child.stdin.take().expect("was piped");
        let _ = input.write_all(self.script.as_bytes());
        drop(input);
        let output = child.wait_with_output().expect("waits for psql");
        PsqlOutput {
            status: output.status,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Connects with a new psql repeatedly, until stopped.
    pub fn connect_loop(self) -> ConnectLoop {
        let psql = Arc::new(self);
        ConnectLoop::start(move || {
            let output = psql.run();
            if output.status.success() { Ok(()) } else { Err(output.stderr) }
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Cluster, Directory};

    #[test]
    fn connects_through_a_service_file() {
        let cluster = Cluster::new();
        let files = Directory::new();
        let section = format!(
            "[db]\nhost={}\nport={}\nuser=postgres\ndbname=postgres\n",
            cluster.socket_directory().display(),
            cluster.port(),
        );
        let file = files.write("pg_service.conf", section, 0o644);
        let psql =
            Psql::new().env("PGSERVICEFILE", &file).env("PGSERVICE", "db").script("SELECT 1");
        let output = psql.run();
        assert_eq!((output.status.code(), output.stdout.as_str()), (Some(0), "1"), "{output:?}");

        let missing = psql.env("PGSERVICE", "other").run();
        assert_eq!(missing.status.code(), Some(2));
        assert!(missing.stderr.contains("definition of service \"other\" not found"));
    }

    #[test]
    fn a_loop_counts_what_succeeds_and_what_fails() {
        let cluster = Cluster::new();
        let running = cluster.psql().user("postgres").database("postgres").connect_loop();
        running.wait_for_attempts(3, Duration::from_secs(20));
        cluster.stop(crate::Mode::Fast);
        let attempts = running.attempts();
        running.wait_for_attempts(attempts + 2, Duration::from_secs(20));
        let counts = running.stop();
        assert!(counts.succeeded >= 2, "{counts}");
        assert!(counts.failed() >= 1, "{counts}");
        assert!(counts.to_string().contains("No such file or directory"), "{counts}");
    }
}
