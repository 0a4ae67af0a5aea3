//! Proves which certificate a PostgreSQL serves: the network collects [`Facts`], a pure function judges them.
//!
//! The probe logs in nowhere and needs no role and no slot. PostgreSQL logs nothing of it, since it ends with
//! `close_notify` (measured; with `log_connections = on` one line is unavoidable), unless it refuses the leaf that is shown to
//! it as a [`Client`]'s.

mod address;
mod client;
mod handshake;
mod judge;
mod names;
mod probe;
mod ssl_request;
mod turns;

use std::time::{Duration, SystemTime};

pub use address::{InvalidTarget, Target, addresses};
pub use client::{Client, Proof, Reception, wipe_stack};
pub use judge::{ClientSettings, Expected, Verdict, judge};
pub use probe::{ask, connect, connect_in_turns, probe};
pub use turns::{LONGEST, MOST_HOSTS};

use pgsvid_material::Certificate;

/// What and when to verify.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to look.
    pub target: Target,
    /// How often to look when nothing has changed.
    pub every: Duration,
    /// Whether names are looked up at each probe. A process in a sandbox cannot.
    pub looks_up: bool,
}

impl Settings {
    /// Probes as [`probe`] does; without a look-up, names are passed over.
    pub async fn probe(&self, hosts: &[String], port: u16, client: Option<&Client>) -> Facts {
        if self.looks_up {
            probe(hosts, port, client).await
        } else {
            probe::probe_addresses(hosts, port, client).await
        }
    }
}

/// Limit for one address: connecting and the handshake.
pub const LIMIT: Duration = Duration::from_secs(5);

/// What one probe has seen.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Address that answered, or the last one that was tried.
    pub address: String,
    /// What came of it.
    pub answer: Answer,
}

impl Facts {
    /// How much of the server's authorities was proven; `None` if no handshake was completed.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        match &self.answer {
            Answer::Served(served) => Some(served.proof()),
            Answer::Plaintext | Answer::Nothing(_) => None,
        }
    }
}

/// The server's answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nobody answered, or nothing of use; in words, and nothing of the server's own text.
    Nothing(String),
    /// `N`: the server has TLS turned off.
    Plaintext,
    /// A handshake was completed.
    Served(Box<Served>),
}

/// What a completed handshake has shown.
#[derive(Debug, Clone)]
pub struct Served {
    /// The server's leaf. Possession of its key is proven.
    pub leaf: Certificate,
    /// What was sent after the leaf, in that order; what is no certificate is left out. Where `ssl_cert_file` holds
    /// the leaf alone, OpenSSL appends the CA from `ssl_ca_file`, so this says little about the files.
    pub rest: Vec<Certificate>,
    /// DER names of the authorities whose client certificates the server asks for; `None` if it asks for none.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// What the server made of the leaf that we have shown as a client's.
    pub reception: Reception,
    /// `TLSv1.3`
    pub protocol: String,
    /// `TLS13_AES_256_GCM_SHA384`
    pub cipher: String,
}

impl Served {
    /// Every certificate that the server has shown, its leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.rest)
    }

    /// How much of the server's authorities was proven.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match (&self.authorities, self.reception) {
            (None, _) => Proof::Nothing,
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
