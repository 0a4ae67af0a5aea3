//! What PostgreSQL's errors mean: when to retry, and what an operator must do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::{Severity, SqlState};

use super::LONGEST_SOCKET;
use pgsvid_base::text::shown;

/// Why a session could not be opened, or a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket does not exist, or nobody listens on it.
    #[error("PostgreSQL is not running")]
    NotRunning,
    /// The kernel does not let this process use the socket.
    #[error("may not connect to PostgreSQL's socket: permission denied")]
    Forbidden,
    /// No answer in time.
    #[error("PostgreSQL did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// Each answer came in time, but all of them together did not.
    #[error("PostgreSQL answers too slowly: a session takes more than {}", humantime::format_duration(*.0))]
    Slow(Duration),
    /// The connection ended before the answer came.
    #[error("the connection to PostgreSQL was lost: {0}")]
    Lost(String),
    /// A user other than PostgreSQL's listens on the socket; nothing was sent.
    #[error(
        "a process of uid {uid} listens on PostgreSQL's socket, and that is not PostgreSQL's user"
    )]
    Peer {
        /// The user ID of that process.
        uid: u32,
    },
    /// The socket belongs to a server with another port.
    #[error("the socket belongs to another server: its port is {port}")]
    OtherPort {
        /// The port that the server names, shortened and escaped.
        port: String,
    },
    /// The server sent more than an answer can contain.
    #[error("the server's answer is far longer than any of PostgreSQL's")]
    TooMuch,
    /// The server asks for a login method that is not configured.
    #[error("PostgreSQL asks for a login method that pgsvid is not configured for: {0}")]
    NoLogin(String),
    /// The server refused.
    #[error("{text} (SQLSTATE {code})", code = code.code())]
    Refused {
        /// The SQLSTATE.
        code: SqlState,
        /// The message, shortened and escaped.
        text: String,
        /// Whether it refused the session, and not only a statement.
        login: bool,
    },
    /// A trigger of the database would run with a superuser's rights.
    #[error("the event trigger {name} would run its function with a superuser's rights")]
    EventTrigger {
        /// Its name, shortened and escaped.
        name: String,
    },
    /// A role that is no superuser has created a function or an operator in `pg_catalog`: a superuser's statement could
    /// execute it.
    #[error(
        "role {owner}, which is no superuser, has created a function or an operator in pg_catalog that could run with a superuser's rights"
    )]
    Planted {
        /// The statement that drops it.
        statement: String,
        /// The role that owns it, shortened and escaped.
        owner: String,
    },
    /// The configured password file cannot be read.
    #[error("cannot read the password file {}: {cause}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// The stored password needs more work than a login may cost (postgres-protocol: `MAX_ITERATION_COUNT`).
    #[error(
        "the role's password is stored with more SCRAM iterations than the {MOST_ITERATIONS} that pgsvid computes"
    )]
    TooManyIterations,
    /// No socket can have this path.
    #[error("the socket's path is longer than the {LONGEST_SOCKET} bytes that the kernel allows")]
    LongPath,
    /// The answer is not PostgreSQL's; a pooler may be listening.
    #[error("the server's answer is not PostgreSQL's own: is a pooler listening on the socket?")]
    Unexpected,
}

/// Most SCRAM iterations that a login computes (postgres-protocol: `MAX_ITERATION_COUNT`).
pub(super) const MOST_ITERATIONS: u32 = 100_000;

/// When to retry (PostgreSQL's appendix A, and measurements of 57P03 and 53300).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The error goes away without help.
    Soon,
    /// Somebody has to fix it.
    Slowly,
}

impl Error {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        if let Some(refused) = error.as_db_error() {
            return Self::Refused {
                code: refused.code().clone(),
                text: shown(refused.message()),
                login: refused.parsed_severity() == Some(Severity::Fatal),
            };
        }
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<io::Error>() {
                // tokio-postgres has no public kind for this error, so the message decides.
                if cause.to_string().starts_with("SCRAM iteration count exceeds") {
                    return Self::TooManyIterations;
                }
                return Self::io(cause);
            }
            // tokio-postgres has no public kinds for these, so the message decides.
            let text = cause.to_string();
            if matches!(text.as_str(), "password missing" | "unsupported authentication method") {
                return Self::NoLogin(text);
            }
            source = cause.source();
        }
        Self::Lost(shown(&error.to_string()))
    }

    /// The error for a failed system call on the socket.
    pub(super) fn io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotRunning,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            // Not an error of the kernel: tokio-postgres could not read a message.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Unexpected,
            kind => Self::Lost(kind.to_string()),
        }
    }

    /// Whether an option of the start-up packet was refused: unknown to this version, or not for this role.
    pub(super) fn is_about_an_option(&self) -> bool {
        matches!(self, Self::Refused { code, login: true, .. }
            if *code == SqlState::UNDEFINED_OBJECT || *code == SqlState::INSUFFICIENT_PRIVILEGE)
    }

    /// The error of a call of `pg_reload_conf()` by a role that has no grant for it.
    #[must_use]
    pub fn no_grant() -> Self {
        Self::Refused {
            code: SqlState::INSUFFICIENT_PRIVILEGE,
            text: "permission denied for function pg_reload_conf".to_owned(),
            login: false,
        }
    }

    /// Whether the server could not read one of its own files, although the role had the privilege. The SQLSTATE is that of a
    /// missing privilege (PostgreSQL: `elog.c`, `errcode_for_file_access`).
    #[must_use]
    pub fn is_about_a_file(&self) -> bool {
        matches!(self, Self::Refused { code, login: false, .. }
            if *code == SqlState::INSUFFICIENT_PRIVILEGE
                || *code == SqlState::UNDEFINED_FILE
                || *code == SqlState::IO_ERROR)
    }

    /// Whether a statement named something that does not exist, such as a role.
    #[must_use]
    pub fn is_about_something_gone(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == SqlState::UNDEFINED_OBJECT)
    }

    /// Whether a statement took too long: the server has ended it, or this side has not waited longer.
    #[must_use]
    pub fn is_about_time(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            Self::Refused { code, login: false, .. } => *code == SqlState::QUERY_CANCELED,
            _ => false,
        }
    }

    /// Whether a regular expression could not be compiled.
    #[must_use]
    pub fn is_about_an_expression(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == SqlState::INVALID_REGULAR_EXPRESSION)
    }

    /// When to retry.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { code, .. }
                if *code != SqlState::CANNOT_CONNECT_NOW
                    && *code != SqlState::TOO_MANY_CONNECTIONS
                    && *code != SqlState::ADMIN_SHUTDOWN
                    && *code != SqlState::CRASH_SHUTDOWN =>
            {
                Retry::Slowly
            }
            Self::Forbidden
            | Self::Peer { .. }
            | Self::OtherPort { .. }
            | Self::TooMuch
            | Self::EventTrigger { .. }
            | Self::Planted { .. }
            | Self::NoLogin(_)
            | Self::PasswordFile { .. }
            | Self::TooManyIterations
            | Self::LongPath
            | Self::Unexpected => Retry::Slowly,
            _ => Retry::Soon,
        }
    }
}
