//! What is wrong with a configuration, always with its place and its remedy. Exit status 2.

use std::fmt;
use std::path::PathBuf;

use super::given::Origin;
use crate::text;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named file cannot be read.
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        cause: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a wrong type.
    #[error("{}:{line}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The error, and what would be right.
        message: String,
    },
    /// A value is wrong.
    #[error("{place}: {why}")]
    Value {
        /// The flag, the variable, or the file and its key; often followed by the value, shortened to 120 characters.
        place: String,
        /// The error, and what would be right.
        why: String,
    },
    /// No agent is given.
    #[error(
        "no Workload API is given: set SPIFFE_ENDPOINT_SOCKET or workload_api.endpoint, or use --endpoint unix:///path/to/the/agent.sock; for certificates from files add [certificates]"
    )]
    NoEndpoint,
    /// No directory is given.
    #[error("no directory is given: use --directory, or set files.directory in the configuration")]
    NoDirectory,
    /// The files of `[certificates]` stay where they are, and nothing reads them there.
    #[error(
        "no directory is given, and no [postgres], [pgbouncer], [client] or [[hooks]] table reads the files of [certificates] where they are: set files.directory to publish them, or add such a table"
    )]
    NoReaders,
    /// No PostgreSQL is given.
    #[error(
        "no PostgreSQL is configured: use --postgres with the directory of its socket, or a [postgres] table in the configuration"
    )]
    NoPostgres,
    /// A command about PgBouncer, but none is configured.
    #[error("no PgBouncer is configured: add a [pgbouncer] table to the configuration")]
    NoPgbouncer,
    /// A command about Patroni, but none is configured.
    #[error("no Patroni is configured: add a [patroni] table to the configuration")]
    NoPatroni,
    /// A command for one PostgreSQL, but several are configured.
    #[error("several PostgreSQLs are configured ({}): choose one with --name", names.join(", "))]
    SeveralPostgres {
        /// Their names.
        names: Vec<String>,
    },
}

impl Error {
    pub(super) fn value(origin: &Origin, why: impl fmt::Display) -> Self {
        Self::Value { place: origin.to_string(), why: explanation(&why.to_string()) }
    }

    pub(super) fn given(origin: &Origin, text: &str, why: impl fmt::Display) -> Self {
        let value: String = text.chars().take(120).collect();
        Self::Value { place: format!("{origin} = {value:?}"), why: explanation(&why.to_string()) }
    }
}

/// Longest explanation, in characters.
const LONGEST: usize = 800;

/// An explanation that may repeat the given value: shortened, and escaped.
pub(super) fn explanation(why: &str) -> String {
    let shortened: String = why.chars().take(LONGEST).collect();
    text::harmless(&shortened).into_owned()
}
