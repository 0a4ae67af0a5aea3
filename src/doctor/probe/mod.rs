//! What any PostgreSQL serves, and how it is to be judged.

mod judge;
mod place;
mod text;

use std::path::PathBuf;
use std::time::SystemTime;

use super::finding::{Code, Finding, Report, Section, Severity};
use crate::material::{Certificate, Fingerprint};
use crate::timing;
use crate::verify::{self, Answer, Facts};

pub use judge::{Bundle, UnusableBundle};
pub use place::{InvalidPlace, Place};

/// What to look at, and what to judge it by.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to look.
    pub place: Place,
    /// The file with the authorities that should vouch for the leaf; it is read at each look. And whether it is the
    /// published one, which may not be there yet.
    pub bundle: Option<(PathBuf, bool)>,
    /// The name that a client with `sslmode=verify-full` uses for the server.
    pub host_name: Option<String>,
}

/// One look.
#[derive(Debug, Clone)]
pub struct Seen {
    facts: Facts,
    findings: Section,
    at: SystemTime,
}

/// Looks once. What the server answers, or fails to, is part of what is seen; fails only where the bundle that was
/// asked for cannot be read.
pub async fn look(request: &Request) -> Result<Seen, UnusableBundle> {
    let bundle = match &request.bundle {
        Some((path, published)) => judge::read(path, *published)?,
        None => Bundle::None,
    };
    let (facts, note) = match request.place.hosts().await {
        place::Hosts::At(hosts, port, note) => (verify::probe(&hosts, port, None).await, note),
        place::Hosts::Nowhere(why) => {
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

/// What makes a look differ from the one before.
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

    /// To be compared with that of another look. Times that only pass make no difference.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let (answer, served) = match &self.facts.answer {
            Answer::Nothing(why) => (why.clone(), None),
            Answer::Plaintext => ("plaintext".to_owned(), None),
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
