//! Proves which certificate a PostgreSQL serves: the network part collects [`Facts`], and a pure function judges them.
//!
//! The probe does not log in, and needs no role and no connection slot. PostgreSQL logs nothing about it, because it ends
//! with `close_notify` (measured; with `log_connections = on` one line is unavoidable), unless the server refuses the leaf
//! that is shown to it as a [`Client`]'s.

mod address;
mod client;
mod exchange;
mod handshake;
mod judge;
mod names;
mod p521_exchange;
mod probe;
mod ssl_request;
mod supported;
#[cfg(test)]
pub(crate) mod test_server;
mod turns;

use std::time::{Duration, SystemTime};

pub use address::{AddressOverlap, InvalidTarget, Target, addresses};
pub use client::{Client, Proof, Reception, WRONG_CURVE, wipe_stack};
pub use exchange::{Unanswered, exchange};
pub use handshake::{alert, is_too_large};
pub use judge::{ClientSettings, Expected, Verdict, judge};
pub use names::known_in;
pub use probe::{addresses_of, ask, connect, connect_in_turns, explain, probe, shown_address};
pub(crate) use probe::{has_spoken, is_loopback};
pub(crate) use ssl_request::{Reply, ask as ask_for_tls};
pub use supported::{
    alert_name, ciphers, groups, has_group, is_without_common_tls, provider, suites, supported_list,
};
pub use turns::{LONGEST, MOST_HOSTS};

use pgsvid_material::Certificate;
use rustls::AlertDescription;

/// What and when to verify.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address to probe.
    pub target: Target,
    /// How often to probe if nothing has changed.
    pub every: Duration,
    /// Whether names are looked up for each probe. A process in a sandbox cannot do so.
    pub looks_up: bool,
    /// How a connection begins.
    pub begin: Begin,
}

/// How a TLS connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With an SSLRequest, as PostgreSQL and PgBouncer want it.
    SslRequest,
    /// With the handshake, as for HTTPS.
    Tls,
    /// With the handshake, which names PostgreSQL's protocol, as PostgreSQL 17 and later want it.
    Direct,
}

impl Settings {
    /// Probes as [`probe`] does. If names cannot be looked up, they are skipped.
    pub async fn probe(&self, hosts: &[String], port: u16, client: Option<&Client>) -> Facts {
        if self.looks_up {
            probe::probe_as(self.begin, hosts, port, client).await
        } else {
            probe::probe_addresses(self.begin, hosts, port, client).await
        }
    }

    /// Those of the hosts to which this process can connect: without look-ups, the addresses.
    #[must_use]
    pub fn within_reach(&self, mut hosts: Vec<String>) -> Vec<String> {
        hosts.retain(|host| self.looks_up || address::is_address(host));
        hosts
    }
}

/// The name of PostgreSQL's protocol in TLS (ALPN), which a server with direct TLS must confirm.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Limit for one address: connecting and the handshake.
pub const LIMIT: Duration = Duration::from_secs(5);

/// The facts from one probe.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The address that answered, or the last one that was tried.
    pub address: String,
    /// Its answer.
    pub answer: Answer,
}

impl Facts {
    /// How much of the server's authorities was proven; `None` if no handshake was completed.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        match &self.answer {
            Answer::Served(served) => Some(served.proof()),
            Answer::Plaintext | Answer::Refused(_) | Answer::TooLarge | Answer::Nothing(_) => None,
        }
    }
}

/// The server's answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// No answer, or no usable one. The text contains none of the server's own.
    Nothing(String),
    /// `N`: the server has TLS turned off.
    Plaintext,
    /// A server with TLS ended the handshake with this alert before it showed a certificate.
    Refused(AlertDescription),
    /// The server has TLS, and sent more than 64 KiB in one message of the handshake, which is not read.
    TooLarge,
    /// A handshake was completed.
    Served(Box<Served>),
}

/// The facts from a completed handshake.
#[derive(Debug, Clone)]
pub struct Served {
    /// The server's leaf. The server has proven that it has its key.
    pub leaf: Certificate,
    /// The certificates after the leaf, in the order sent, without entries that are not certificates. If `ssl_cert_file` only
    /// holds the leaf, OpenSSL appends the CA from `ssl_ca_file`, so this says little about the files.
    pub rest: Vec<Certificate>,
    /// DER names of the authorities whose client certificates the server asks for; `None` if it asks for none.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// The server's answer to the leaf that was shown as a client's.
    pub reception: Reception,
    /// `TLSv1.3`
    pub protocol: String,
    /// `TLS13_AES_256_GCM_SHA384`
    pub cipher: String,
}

impl Served {
    /// Every certificate that the server showed, its leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.rest)
    }

    /// How much of the server's authorities was proven.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match (&self.authorities, self.reception) {
            (None, _) => Proof::Nothing,
            (Some(names), Reception::Taken) if names.is_empty() => Proof::Issuer,
            (Some(names), _) if names.is_empty() => Proof::Nothing,
            (_, Reception::Taken) => Proof::Key,
            _ => Proof::Names,
        }
    }

    /// When the served leaf expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after()
    }
}
