//! What is wrong with a configuration: always with its place and its remedy. Exit status 2.

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
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// The file is no TOML, or has a key or type that is not known.
    #[error("{}:{line}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A value is wrong.
    #[error("{place}: {why}")]
    Value {
        /// The flag, variable, or file and key, with the value where it is short enough to help.
        place: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// Nobody has said where the agent is.
    #[error(
        "no Workload API is given: set SPIFFE_ENDPOINT_SOCKET or workload_api.endpoint, or use --endpoint unix:///path/to/the/agent.sock"
    )]
    NoEndpoint,
    /// Nobody has said where to publish.
    #[error("no directory is given: use --directory, or set files.directory in the configuration")]
    NoDirectory,
    /// Nobody has said that a PostgreSQL takes part.
    #[error(
        "no PostgreSQL takes part: use --postgres with the directory of its socket, or a [postgres] table in the configuration"
    )]
    NoPostgres,
    /// A command about one PostgreSQL, and several take part.
    #[error("several PostgreSQLs take part ({}): use --name to say which one is meant", names.join(", "))]
    SeveralPostgres {
        /// Their names.
        names: Vec<String>,
    },
}

impl Error {
    pub(super) fn value(origin: &Origin, why: impl fmt::Display) -> Self {
        Self::Value { place: origin.to_string(), why: shown(&why.to_string()) }
    }

    pub(super) fn given(origin: &Origin, text: &str, why: impl fmt::Display) -> Self {
        let value: String = text.chars().take(120).collect();
        Self::Value { place: format!("{origin} = {value:?}"), why: shown(&why.to_string()) }
    }
}

/// Longest explanation, in characters.
const LONGEST: usize = 800;

/// An explanation that may repeat what was given: shortened, and harmless.
pub(super) fn shown(why: &str) -> String {
    let shortened: String = why.chars().take(LONGEST).collect();
    text::harmless(&shortened).into_owned()
}
