//! What PostgreSQL's errors mean: when to try again, and what an operator has to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::{Severity, SqlState};

use super::statements::{self, identifier};
use super::words::word;
use super::{LONGEST_SOCKET, Settings};
use pgsvid_base::text::shown;

/// Why a session could not be had, or a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket, or nobody listens.
    #[error("PostgreSQL is not running")]
    NotRunning,
    /// We may not use the socket.
    #[error("may not connect to PostgreSQL's socket: permission denied")]
    Forbidden,
    /// No answer in time.
    #[error("PostgreSQL did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// Each answer in time, and all of them not.
    #[error("PostgreSQL answers so slowly that {} were not enough for a session", humantime::format_duration(*.0))]
    Slow(Duration),
    /// The connection ended before the answer came.
    #[error("the connection to PostgreSQL was lost: {0}")]
    Lost(String),
    /// Another user than PostgreSQL's listens on the socket; nothing was sent.
    #[error(
        "a process of uid {uid} listens on PostgreSQL's socket, and that is not PostgreSQL's user"
    )]
    Peer {
        /// The process's user.
        uid: u32,
    },
    /// The socket is that of a server with another port.
    #[error("the socket is that of another server: its port is {port}")]
    OtherPort {
        /// The port that the server names, shortened and escaped.
        port: String,
    },
    /// The server says more than an answer can have.
    #[error("the server's answer is far too long for a PostgreSQL's")]
    TooMuch,
    /// The server asks for a login that we have nothing for.
    #[error("PostgreSQL asks for a login that pgsvid is not configured for: {0}")]
    NoLogin(String),
    /// The server refused.
    #[error("{text} (SQLSTATE {code})", code = code.code())]
    Refused {
        /// Its reason as a code.
        code: SqlState,
        /// Its words, shortened and escaped.
        text: String,
        /// Whether it refused the session, and not just a statement.
        login: bool,
    },
    /// A trigger of the database would run with a superuser's rights.
    #[error("the event trigger {name} would run its function with a superuser's rights")]
    EventTrigger {
        /// Its name, shortened and escaped.
        name: String,
    },
    /// The configured password file cannot be read.
    #[error("cannot read the password file {}: {cause}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The stored password takes more work to prove than a login may cost (postgres-protocol: `MAX_ITERATION_COUNT`).
    #[error(
        "the role's password is stored with more SCRAM iterations than the {MOST_ITERATIONS} that pgsvid makes"
    )]
    TooManyIterations,
    /// No socket can have this path.
    #[error("the socket's path is longer than the {LONGEST_SOCKET} bytes that the kernel takes")]
    LongPath,
    /// The answer is not that of a PostgreSQL: is a pooler listening?
    #[error("the server's answer is not PostgreSQL's own: is a pooler listening on the socket?")]
    Unexpected,
}

/// The role that PostgreSQL's own user is by `peer` without a map.
const SUPERUSER: &str = "postgres";

/// Most iterations of SCRAM that a login makes (postgres-protocol: `MAX_ITERATION_COUNT`).
const MOST_ITERATIONS: u32 = 100_000;

/// When to try again (`facts`: PostgreSQL's appendix A, and what was measured of 57P03 and 53300).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Goes away by itself.
    Soon,
    /// Somebody has to mend it.
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
                // No public kind either.
                if cause.to_string().starts_with("SCRAM iteration count exceeds") {
                    return Self::TooManyIterations;
                }
                return Self::io(cause);
            }
            // tokio-postgres has no public kinds for these; its words are all there is.
            let text = cause.to_string();
            if matches!(text.as_str(), "password missing" | "unsupported authentication method") {
                return Self::NoLogin(text);
            }
            source = cause.source();
        }
        Self::Lost(shown(&error.to_string()))
    }

    /// What the kernel has said of the socket.
    pub(super) fn io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotRunning,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            // No word of the kernel's: tokio-postgres could not read a message.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Unexpected,
            kind => Self::Lost(kind.to_string()),
        }
    }

    /// Whether an option of the start-up packet was refused: unknown to this version, or not for this role.
    pub(super) fn is_about_an_option(&self) -> bool {
        matches!(self, Self::Refused { code, login: true, .. }
            if *code == SqlState::UNDEFINED_OBJECT || *code == SqlState::INSUFFICIENT_PRIVILEGE)
    }

    /// The role lacks a privilege, here as if `pg_reload_conf()` had been called without it.
    #[must_use]
    pub fn no_grant() -> Self {
        Self::Refused {
            code: SqlState::INSUFFICIENT_PRIVILEGE,
            text: "permission denied for function pg_reload_conf".to_owned(),
            login: false,
        }
    }

    /// Whether the server could not read a file of its own, where the role may do what it asked for. The code is the one of a
    /// missing privilege, too (PostgreSQL: `elog.c`, `errcode_for_file_access`).
    #[must_use]
    pub fn is_about_a_file(&self) -> bool {
        matches!(self, Self::Refused { code, login: false, .. }
            if *code == SqlState::INSUFFICIENT_PRIVILEGE
                || *code == SqlState::UNDEFINED_FILE
                || *code == SqlState::IO_ERROR)
    }

    /// Whether a statement named what is not there, such as a role.
    #[must_use]
    pub fn is_about_something_gone(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == SqlState::UNDEFINED_OBJECT)
    }

    /// Whether a regular expression could not be compiled.
    #[must_use]
    pub fn is_about_an_expression(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == SqlState::INVALID_REGULAR_EXPRESSION)
    }

    /// When another try makes sense.
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
            | Self::NoLogin(_)
            | Self::PasswordFile { .. }
            | Self::TooManyIterations
            | Self::LongPath
            | Self::Unexpected => Retry::Slowly,
            _ => Retry::Soon,
        }
    }

    /// What is wrong, with the role and the database that it is wrong for.
    #[must_use]
    pub fn cause(&self, settings: &Settings) -> String {
        let Settings { user, database, .. } = settings;
        match self {
            Self::Refused { login: true, .. } | Self::NoLogin(_) | Self::TooManyIterations => {
                format!("role {user} cannot log in to database {database}")
            }
            Self::Refused { code, .. } if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("role {user} may not call pg_reload_conf() in database {database}")
            }
            Self::NotRunning => format!("nobody listens on {}", settings.socket().display()),
            _ => self.to_string(),
        }
    }

    /// The command in the remedy, if it has one.
    #[must_use]
    pub fn command(&self, settings: &Settings) -> Option<String> {
        let Self::Refused { code, login, .. } = self else { return None };
        let Settings { user, database, .. } = settings;
        match code.code() {
            "42501" if *login => Some(settings.psql(&format!(
                "GRANT CONNECT ON DATABASE {} TO {}",
                identifier(database),
                identifier(user)
            ))),
            "42501" => Some(settings.psql_in(database, &[statements::grant_reload(user)])),
            // A role is the server's, and its grant the database's.
            "28000" => Some(settings.psql_in(
                database,
                &[statements::create_role(user), statements::grant_reload(user)],
            )),
            _ => None,
        }
    }

    /// What an operator has to do, ready to paste; `None` where waiting is enough.
    #[must_use]
    pub fn remedy(&self, settings: &Settings) -> Option<String> {
        let (user, database) = (identifier(&settings.user), &settings.database);
        let peer = format!(
            "let uid {uid} log in as it: `local {database} {role} peer map=pgsvid` above the general lines of \
             pg_hba.conf, `pgsvid <os-user> {role}` in pg_ident.conf{own}, then reload; the uid needs a name where \
             PostgreSQL runs",
            uid = rustix::process::geteuid().as_raw(),
            role = word(&settings.user),
            database = word(database),
            // The user of that name came in without a map, and would not by the new line.
            own = if settings.user == SUPERUSER {
                format!(" and `pgsvid {SUPERUSER} {SUPERUSER}` beside it")
            } else {
                String::new()
            },
        );
        match self {
            Self::NotRunning => Some(
                "start PostgreSQL, or set postgres.host to a directory of its unix_socket_directories and \
                 postgres.port to its port"
                    .to_owned(),
            ),
            // What root needs for a closed socket it keeps only if the socket is there, and closed, when pgsvid starts.
            Self::Forbidden if rustix::process::geteuid().is_root() => Some(
                "start pgsvid again now that the socket is there: as root it keeps the right to use a closed socket only if \
                 it finds it closed at its start"
                    .to_owned(),
            ),
            Self::Forbidden => Some(format!(
                "let pgsvid's uid enter {} and use the socket (unix_socket_permissions)",
                settings.host.display()
            )),
            Self::Peer { uid } => Some(format!(
                "if PostgreSQL runs as uid {uid}, set postgres.require_peer = \"{uid}\"; else that process has put a \
                 socket of its own at {}: stop it, and start PostgreSQL",
                settings.socket().display()
            )),
            Self::OtherPort { port } => Some(format!(
                "see what {} leads to (ls -l); if that server is the right one, set postgres.port to {port}",
                settings.socket().display()
            )),
            Self::EventTrigger { name } => Some(format!(
                "if its function is nobody's but a superuser's, run the statement yourself; or, for as long as setup runs: {}",
                settings.psql_in(database, &[format!("ALTER EVENT TRIGGER {} DISABLE", identifier(name))])
            )),
            Self::PasswordFile { path, cause }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(format!("make {} readable for pgsvid's uid", path.display()))
            }
            Self::PasswordFile { path, .. } => Some(format!(
                "let {} be a regular file that holds the password of role {user} and nothing else",
                path.display()
            )),
            Self::TooManyIterations => Some(format!(
                "set scram_iterations to {MOST_ITERATIONS} or less, and then the password of role {user} again (psql: \\password {user})"
            )),
            Self::LongPath => Some(format!(
                "set postgres.host to a shorter path of the directory {}, such as a symbolic link",
                settings.host.display()
            )),
            Self::Refused { code, login, .. } => match code.code() {
                "42501" if *login => self.command(settings),
                "42501" => Some(format!(
                    "as a superuser, in that database, where alone the grant counts: {}",
                    self.command(settings).unwrap_or_default()
                )),
                "3D000" => Some(format!(
                    "set postgres.database to a database that exists; {database} does not"
                )),
                "28P01" => Some(match &settings.password_file {
                    Some(path) => {
                        format!(
                            "put the password of role {user} into {}; if there is no such role, create it",
                            path.display()
                        )
                    }
                    None => format!("if role {user} exists, {peer}"),
                }),
                // A missing role and a refused peer authentication have the same code, and their texts are
                // translated by the server.
                "28000" => Some(format!(
                    "if there is no such role: {}; if the role exists, {peer}",
                    self.command(settings).unwrap_or_default()
                )),
                _ => None,
            },
            Self::NoLogin(_) => Some(format!(
                "{peer}; where that is impossible, set postgres.password_file to a file with the password of \
                 role {user}"
            )),
            _ => None,
        }
    }
}
