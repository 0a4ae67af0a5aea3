//! What any PostgreSQL serves, and how to judge it.

mod judge;
mod server;
mod text;

use std::path::PathBuf;
use std::time::SystemTime;

use super::finding::{Code, Finding, Report, Section, Severity};
use crate::material::{Certificate, Fingerprint};
use crate::timing;
use crate::verify::{self, Answer, Facts};

pub use judge::{Bundle, UnusableBundle};
pub use server::{InvalidAddress, ProbedServer};

/// Which server to probe, and what to judge it by.
#[derive(Debug, Clone)]
pub struct Request {
    /// The server's address.
    pub place: ProbedServer,
    /// The file with the authorities that should have signed the leaf, read for each probe; and whether it is the published
    /// bundle, which may not exist yet.
    pub bundle: Option<(PathBuf, bool)>,
    /// The name that a client with `sslmode=verify-full` uses for the server.
    pub host_name: Option<String>,
}

/// The result of one probe.
#[derive(Debug, Clone)]
pub struct Seen {
    facts: Facts,
    findings: Section,
    at: SystemTime,
}

/// Probes once. An answer, or none, is part of the result. Fails only if the given bundle cannot be read.
pub async fn look(request: &Request) -> Result<Seen, UnusableBundle> {
    let bundle = match &request.bundle {
        Some((path, published)) => judge::read(path, *published)?,
        None => Bundle::None,
    };
    let (facts, note) = match request.place.hosts().await {
        server::Hosts::At(hosts, port, note) => (verify::probe(&hosts, port, None).await, note),
        server::Hosts::Nowhere(why) => {
            let address = request.place.to_string();
            (Facts { address, answer: Answer::Nothing(why) }, None)
        }
    };
    let at = timing::now();
    let mut findings = judge::judge(&facts, &bundle, request.host_name.as_deref(), at);
    findings
        .findings
        .splice(0..0, note.map(|note| Finding::skipped(Code::ListenAddressesUnknown, note)));
    Ok(Seen { facts, findings, at })
}

/// What distinguishes the result of one probe from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    address: String,
    answer: String,
    chain: Vec<Fingerprint>,
    authorities: Option<Vec<Vec<u8>>>,
    judgement: Vec<(Code, Severity)>,
}

impl Seen {
    /// The judgement.
    #[must_use]
    pub fn report(&self) -> Report {
        Report { sections: vec![self.findings.clone()] }
    }

    /// Whether the server shows no certificate, or one that fails the judgement.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.report().has_failures()
    }

    /// What to compare with another probe: without the time of the probe, and without remaining lifetimes.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let (answer, served) = match &self.facts.answer {
            Answer::Nothing(why) => (why.clone(), None),
            Answer::Plaintext => ("plaintext".to_owned(), None),
            Answer::TooLarge => ("too-large".to_owned(), None),
            Answer::Refused(alert) => (verify::alert_name(*alert), None),
            Answer::Served(served) => {
                (format!("{} {}", served.protocol, served.cipher), Some(served))
            }
        };
        let chain = served.iter().flat_map(|served| served.chain());
        Identity {
            address: self.facts.address.clone(),
            answer,
            chain: chain.map(Certificate::fingerprint).collect(),
            authorities: served.and_then(|served| served.authorities.clone()),
            judgement: self
                .findings
                .findings
                .iter()
                .map(|finding| (finding.code, finding.severity))
                .collect(),
        }
    }
}
