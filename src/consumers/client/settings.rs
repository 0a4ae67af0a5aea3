//! Where a client logs in, as which role, and what its connection string asks for.

use std::net::IpAddr;
use std::time::Duration;

use crate::login::{Negotiation, Session, Verify, Versions};
use crate::sql::numeric;
use crate::text::shown;
use crate::verify::shown_address;

/// A login that pgsvid tries, as the application makes it.
#[derive(Debug, Clone)]
pub struct ClientLogin {
    /// Its name, which no other consumer has.
    pub name: String,
    /// The hosts, in the order in which libpq tries them; at least one.
    pub hosts: Vec<Host>,
    /// The role.
    pub role: String,
    /// The database.
    pub database: String,
    /// Further parameters of the session.
    pub parameters: Vec<(String, String)>,
    /// What is compared with the server's certificate.
    pub verify: Verify,
    /// How TLS begins.
    pub negotiation: Negotiation,
    /// The versions of TLS.
    pub versions: Versions,
    /// The state that the server must be in.
    pub target: TargetState,
    /// How long connecting to one address may take, with the login there.
    pub limit: Duration,
    /// Whether the application waits for ever for the answer of a server: there is no `connect_timeout`.
    pub waits_for_ever: bool,
    /// How often to log in when nothing has changed.
    pub every: Duration,
    /// Whether pgsvid is not ready while the client is refused.
    pub readiness: bool,
    /// Whether servers of the same configuration may be those that the client reaches: then it waits for their proof.
    pub follows_servers: bool,
}

impl ClientLogin {
    /// Whether the C library looks a name up for each login.
    #[must_use]
    pub fn looks_up(&self) -> bool {
        self.hosts.iter().any(|host| matches!(host.dial, Dial::LookUp(_)))
    }

    /// Whether a name is looked up within the sandbox for each login.
    #[must_use]
    pub fn asks_name_servers(&self) -> bool {
        self.hosts.iter().any(|host| matches!(host.dial, Dial::Confined(_)))
    }

    /// Whether it is more than one login at each host with nothing but role and database.
    #[must_use]
    pub fn asks_more(&self) -> bool {
        !self.parameters.is_empty()
            || self.negotiation != Negotiation::Request
            || self.versions != Versions::Both
            || self.target != TargetState::Any
    }

    /// Role, database and hosts, for the log.
    #[must_use]
    pub fn shown(&self) -> String {
        let hosts = self.hosts.iter().map(|host| shown_address(&host.name, host.port));
        let hosts = hosts.collect::<Vec<_>>().join(",");
        shown(&format!("{} in {} at {hosts}", self.role, self.database))
    }
}

/// One entry of a host list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name that the server's certificate must have under `verify-full`.
    pub name: String,
    /// What is dialled.
    pub dial: Dial,
    /// The port.
    pub port: u16,
}

/// What is dialled for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dial {
    /// A name or an address; the C library looks a name up for each login.
    LookUp(String),
    /// A name that is looked up within the sandbox for each login: in /etc/hosts, then by DNS over TCP.
    Confined(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// The host for a process that cannot use the C library's look-up, which takes an address in old forms, too (`127.1`).
    pub fn confine(&mut self) {
        let Dial::LookUp(target) = &self.dial else { return };
        // The interface of a link-local address.
        let address = target.split('%').next().and_then(numeric);
        self.dial = address.map_or_else(|| Dial::Confined(target.clone()), Dial::Address);
    }
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetState {
    /// Any server.
    #[default]
    Any,
    /// One whose sessions can write.
    ReadWrite,
    /// One whose sessions cannot write.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or any server if none is.
    PreferStandby,
}

impl TargetState {
    /// All of them, with libpq's names.
    pub const NAMES: [(&str, Self); 6] = [
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];

    /// Whether a session is in this state; `None` if the server does not tell (PostgreSQL before 14, PgBouncer).
    pub(super) fn is_met(self, session: Session) -> Option<bool> {
        let standby = session.in_hot_standby;
        let writes = match (standby, session.read_only) {
            (Some(true), _) | (_, Some(true)) => Some(false),
            (Some(false), Some(false)) => Some(true),
            _ => None,
        };
        match self {
            Self::Any => Some(true),
            Self::ReadWrite => writes,
            Self::ReadOnly => writes.map(|writes| !writes),
            Self::Primary => standby.map(|standby| !standby),
            Self::Standby | Self::PreferStandby => standby,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_in_a_state_as_libpq_decides() {
        let session =
            |in_hot_standby, read_only| Session { in_hot_standby, read_only, ..Session::default() };
        let (yes, no) = (Some(true), Some(false));
        let (primary, standby, frozen) = (session(no, no), session(yes, no), session(no, yes));
        let silent = Session::default();
        for (state, met) in [
            (TargetState::Any, [yes, yes, yes, yes]),
            (TargetState::ReadWrite, [yes, no, no, None]),
            (TargetState::ReadOnly, [no, yes, yes, None]),
            (TargetState::Primary, [yes, no, yes, None]),
            (TargetState::Standby, [no, yes, no, None]),
            (TargetState::PreferStandby, [no, yes, no, None]),
        ] {
            let found = [primary, standby, frozen, silent].map(|session| state.is_met(session));
            assert_eq!(found, met, "{state:?}");
        }
    }

    #[test]
    fn what_is_written_as_an_address_needs_no_look_up() {
        let confined = |dial: &str| {
            let dial = Dial::LookUp(dial.to_owned());
            let mut host = Host { name: "db".to_owned(), dial, port: 5432 };
            host.confine();
            host.dial
        };
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(confined(text), Dial::Address(address.parse().unwrap()), "{text}");
        }
        for text in ["db", "256.1", "db.example."] {
            assert_eq!(confined(text), Dial::Confined(text.to_owned()));
        }
    }
}
