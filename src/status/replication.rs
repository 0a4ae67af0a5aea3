//! The replication connections of a server: who receives from it, and whether it receives itself.

use std::time::{Duration, SystemTime};

/// The replication connections of a server, as its role last saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// When they were seen.
    pub at: SystemTime,
    /// The longest life of a client's certificate.
    pub life: Duration,
    /// Whether that is configured (`postgres.client_svid_life`). If not, it is that of pgsvid's own SVIDs, and a client's may be longer.
    pub life_is_set: bool,
    /// The connections that receive from this server, those without a certificate first, then the oldest; not all if there are many.
    pub connections: Vec<Connected>,
    /// Their whole number.
    pub count: u64,
    /// Whether a standby receives from its primary, and from which; `None` if the server is no standby.
    pub receiver: Option<Receives>,
    /// The name of each enabled subscription, and whether it receives.
    pub subscriptions: Vec<(String, bool)>,
}

/// A connection that receives from the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    /// `application_name`
    pub application: String,
    /// Its role.
    pub role: String,
    /// `streaming`, `catchup`, `startup`, `backup` or `stopping`.
    pub state: String,
    /// How it is protected, and whose it is.
    pub shows: Shows,
    /// How long it had been open.
    pub age: Duration,
}

/// What a client has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Shows {
    /// The connection is over TCP and has no TLS.
    #[default]
    Plaintext,
    /// The connection is over the Unix socket.
    Local,
    /// TLS, or encryption by GSSAPI, and no certificate.
    Nothing,
    /// TLS, and this certificate.
    Certificate {
        /// Its subject.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// Its serial number, in hexadecimal.
        serial: String,
    },
}

impl Shows {
    /// All names in metrics.
    pub const NAMES: [&str; 4] = ["plaintext", "socket", "no-certificate", "certificate"];

    /// Its name in metrics and JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let [plaintext, local, nothing, certificate] = Self::NAMES;
        match self {
            Self::Plaintext => plaintext,
            Self::Local => local,
            Self::Nothing => nothing,
            Self::Certificate { .. } => certificate,
        }
    }
}

impl Replication {
    /// When the certificate of a connection must have expired: PostgreSQL reports no validity, so this is the beginning of the
    /// connection and the longest life. `None` without a certificate, or while no life is known.
    #[must_use]
    pub fn bound(&self, connected: &Connected) -> Option<SystemTime> {
        let is_certified = matches!(connected.shows, Shows::Certificate { .. });
        let begun = self.at.checked_sub(connected.age).filter(|_| is_certified)?;
        begun.checked_add(self.life).filter(|_| !self.life.is_zero())
    }
}

/// What a standby receives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receives {
    /// The state of its walreceiver; `None` if there is none.
    pub state: Option<String>,
    /// `host:port` of the server that it receives from.
    pub from: Option<String>,
    /// Whether it receives.
    pub receives: bool,
}
