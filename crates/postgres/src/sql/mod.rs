//! The SQL session over PostgreSQL's Unix socket: connecting, the settings that concern TLS, what errors mean
//! and how to mend them; whom the server lets in. Knows nothing of certificates.

mod access;
mod address;
mod administration;
mod commands;
mod error;
mod expression;
mod patience;
mod session;
mod sessions;
mod settings;
mod socket;
mod standing;
mod startup;
pub mod statements;
mod transaction;
mod views;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use pgsvid_base::text::argument;

pub use access::{BadLine, HbaRule, Include, Line, Mapping, parse_hba, parse_ident, parse_list};
pub use address::Address;
pub use administration::{
    Administration, Grant, MOST_RELATED, MOST_SUPERUSERS, Manager, Membership, Might, Related,
    Role, Superuser, TLS_SETTINGS,
};
pub use commands::Psql;
pub use error::{Error, Retry};
pub use expression::{first_parts, is_anchored, is_exact, lookalikes};
pub use session::Session;
pub use sessions::SessionCounts;
pub use settings::{OTHER_SETTINGS, OtherSettings, Override, Setting, TlsSettings};
pub use socket::{Budget, Limited, listener, may_listen};
pub use standing::Standing;
pub use transaction::Outcome;
pub use views::AccessViews;
pub use words::{list_file, word};

/// How to reach the PostgreSQL that is to be reloaded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of its Unix socket, absolute.
    pub host: PathBuf,
    /// Its port, which names the socket: `.s.PGSQL.<port>`.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Database to connect to; the role's grant must be there.
    pub database: String,
    /// File with the role's password, where peer authentication is impossible; read at each connection.
    pub password_file: Option<PathBuf>,
    /// The uid that has to listen on the socket. Without it: root, our own, or that of the directory's owner.
    pub require_peer: Option<u32>,
    /// What sessions are for.
    pub purpose: Purpose,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To reload and to ask what is in force, as a role that may do nothing else.
    Reload,
    /// To look at everything, or to change it, as a role that may be a superuser: no event trigger runs.
    Administration,
}

impl Settings {
    /// Path of the Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.host.join(format!(".s.PGSQL.{}", self.port))
    }

    /// What psql has to be told to reach this server, for commands to paste; nothing for the default one.
    #[must_use]
    pub fn psql_options(&self) -> String {
        if self.host == Path::new("/var/run/postgresql") && self.port == 5432 {
            return String::new();
        }
        format!(" -h {} -p {}", argument(&self.host), self.port)
    }
}

/// Makes a login by password possible in a sandbox: to be called before it is entered.
///
/// A static program does not find the C library's `getrandom`, and the numbers of a login come from /dev/urandom instead. It
/// is opened once for the process, for all threads, and neither Landlock nor seccomp would let that happen later.
pub fn prepare_for_passwords() {
    drop(ScramSha256::new(b"", ChannelBinding::unsupported()));
}

/// Longest path of a Unix socket in bytes: `sun_path` has 108, and PostgreSQL wants a zero at its end.
pub const LONGEST_SOCKET: usize = 107;

/// Limit for connecting, and for each statement. A stopped postmaster accepts and never answers.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Limit for a session of somebody who has other things to do: logging in and all statements.
pub const BRIEF: Duration = Duration::from_secs(15);

/// Limit for any other session. People who are asked meanwhile do not count.
const LONG: Duration = Duration::from_secs(60);
