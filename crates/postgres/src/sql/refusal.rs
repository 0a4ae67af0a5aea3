//! Why PostgreSQL does not let a role in. One SQLSTATE has several reasons; only the message tells them apart.

use super::Settings;
use super::error::Error;
use super::words::stored_name;

/// The reason. PostgreSQL's messages are English unless its `lc_messages` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such role.
    NoRole,
    /// The role has no LOGIN.
    NoLogin,
    /// The deciding line of `pg_hba.conf` does not let this operating-system user log in as the role.
    Peer,
    /// No line of `pg_hba.conf` matches such a login.
    Line,
    /// A line with the method `reject` decides.
    Rejected,
    /// All connections of the role's CONNECTION LIMIT are in use; the limit may be 0.
    RoleLimit,
    /// All connections of the database's CONNECTION LIMIT are in use; the limit may be 0.
    DatabaseLimit,
    /// All connections of the server are in use.
    Slots,
    /// The database allows no connections.
    DatabaseClosed,
    /// The password is wrong, or has expired: only PostgreSQL's log says which.
    Password,
    /// The SQLSTATE has several reasons, and the message is not known.
    Unclear,
}

impl Refusal {
    /// The reason of a refused session; `None` if the SQLSTATE is enough, or no session was refused.
    #[must_use]
    pub fn of(error: &Error, settings: &Settings) -> Option<Self> {
        let Error::Refused { code, text, login: true } = error else { return None };
        let (role, database) = (stored_name(&settings.user), stored_name(&settings.database));
        match code.code() {
            "28P01" => Some(Self::Password),
            "28000" if *text == format!("role \"{role}\" does not exist") => Some(Self::NoRole),
            "28000" if *text == format!("role \"{role}\" is not permitted to log in") => {
                Some(Self::NoLogin)
            }
            "28000" if text.starts_with("Peer authentication failed") => Some(Self::Peer),
            "28000" if text.starts_with("no pg_hba.conf entry") => Some(Self::Line),
            "28000" if text.starts_with("pg_hba.conf rejects") => Some(Self::Rejected),
            "28000" => Some(Self::Unclear),
            "53300" if *text == format!("too many connections for role \"{role}\"") => {
                Some(Self::RoleLimit)
            }
            "53300" if *text == format!("too many connections for database \"{database}\"") => {
                Some(Self::DatabaseLimit)
            }
            "53300" => Some(Self::Slots),
            "55000" => Some(Self::DatabaseClosed),
            _ => None,
        }
    }
}
