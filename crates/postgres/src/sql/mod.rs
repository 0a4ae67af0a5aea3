//! The SQL session over PostgreSQL's Unix socket: connecting, the settings that concern TLS, what errors mean and how to fix
//! them, and which clients the server lets in. Parses no certificates.

mod access;
mod address;
mod administration;
mod admission;
mod citus;
mod commands;
mod connection;
mod error;
mod expression;
mod outgoing;
mod owned;
mod password;
mod patience;
mod queries;
mod refusal;
mod remedy;
mod replication;
mod role_rights;
mod session;
mod session_grants;
mod sessions;
mod settings;
mod socket;
mod startup;
pub mod statements;
mod superuser_reason;
mod transaction;
mod views;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use pgsvid_base::text::argument;

pub use access::{BadLine, HbaRule, Include, Line, Mapping, parse_hba, parse_ident, parse_list};
pub use address::{Address, numeric};
pub use administration::{
    Administration, MOST_RELATED, Manager, Membership, Related, Role, TLS_SETTINGS,
};
pub use admission::Admission;
pub use citus::Citus;
pub(crate) use commands::runs_postgresql;
pub use commands::{Psql, in_database, own_name};
pub(crate) use connection::Connection;
pub use error::{Error, Retry};
pub use expression::{first_parts, is_anchored, is_exact, lookalikes};
pub use outgoing::{AllOutgoing, Options, Outgoing, OutgoingKind, SECRETS};
pub(crate) use password::read_password;
pub use refusal::Refusal;
pub use replication::{Over, Receiver, Replication, Sender, Shown};
pub use role_rights::RoleRights;
pub use session::Session;
pub use session_grants::{SESSION_GROUPS, session_grants_script};
pub use sessions::{EndedSession, Outlived, SessionCounts, hexadecimal};
pub use settings::{OTHER_SETTINGS, OtherSettings, Override, Setting, TlsSettings};
pub use socket::{Budget, Limited, listener, may_listen};
pub use superuser_reason::{Grant, MOST_SUPERUSERS, Superuser, SuperuserReason};
pub use transaction::Outcome;
pub use views::AccessViews;
pub use words::{LONGEST_NAME, list_file, stored_name, system_user, unquoted_system_user, word};

/// How to reach the PostgreSQL that pgsvid reloads.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of its Unix socket, absolute.
    pub host: PathBuf,
    /// Its port, which names the socket: `.s.PGSQL.<port>`.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Database to connect to; the role's grant must be in it.
    pub database: String,
    /// File with the role's password, if peer authentication is impossible; read for each connection.
    pub password_file: Option<PathBuf>,
    /// The user ID that must listen on the socket. Without it: root, this process's user, or the owner of the directory.
    pub require_peer: Option<u32>,
    /// The purpose of its sessions.
    pub purpose: Purpose,
}

/// The purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To reload and to read settings, as a role that may do nothing else.
    Reload,
    /// To examine everything, or to change it, as a role that may be a superuser: no event trigger runs.
    Administration,
}

impl Settings {
    /// Path of the Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.host.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The options of psql that reach this server, for commands to paste; empty for the default server.
    #[must_use]
    pub fn psql_options(&self) -> String {
        if self.host == Path::new("/var/run/postgresql") && self.port == 5432 {
            return String::new();
        }
        format!(" -h {} -p {}", argument(&self.host), self.port)
    }
}

/// Makes a login by password possible in a sandbox: call it before the sandbox is entered.
///
/// A static program does not find the C library's `getrandom`, so the random numbers of a login come from /dev/urandom. This
/// opens it once for all threads of the process; Landlock and seccomp would not allow that later.
pub fn prepare_for_passwords() {
    drop(ScramSha256::new(b"", ChannelBinding::unsupported()));
}

/// Longest path of a Unix socket in bytes: `sun_path` has 108, and PostgreSQL needs a zero at its end.
pub const LONGEST_SOCKET: usize = 107;

/// Limit for connecting, and for each statement. A stopped postmaster accepts connections and never answers.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Limit for a session, login and all statements, if the caller has other work to do.
pub const BRIEF: Duration = Duration::from_secs(15);

/// Limit for any other session. Only the waiting for the server counts, and not the time until a person confirms a change.
const LONG: Duration = Duration::from_secs(60);
