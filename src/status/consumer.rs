//! What is known of one consumer: what it serves, and what keeps the published set from being in force there.

use std::time::SystemTime;

use crate::finding::Finding;
use crate::verify::{self, Verdict};

/// One that reads the published set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its name, which no other one has.
    pub name: String,
    /// What the last verification found; `None` before the first.
    pub verdict: Option<Verdict>,
    /// The last verdict on an answer: it stays while nobody answers.
    pub answered: Option<Verdict>,
    /// What it was last seen to serve.
    pub served: Option<Served>,
    /// When the published set was last proven to be served.
    pub verified: Option<SystemTime>,
    /// What keeps the published set from being in force, in words.
    pub problem: Option<String>,
    /// What brings the problem about, and what fixes it, as far as that is known.
    pub findings: Vec<Finding>,
    /// Whether what is published was not followed by a reload yet.
    pub reload_pending: bool,
    /// What is not proven though it serves what it should, in words; `None` if there is nothing.
    pub unproven: Option<&'static str>,
    /// When the next try is due, if something is being retried.
    pub retry: Option<SystemTime>,
    /// The sessions on it, where its role may see them.
    pub sessions: Option<Sessions>,
}

impl Consumer {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes a verdict.
    pub fn judged(&mut self, verdict: Verdict, now: SystemTime) {
        self.verdict = Some(verdict);
        if verdict != Verdict::Unreachable {
            self.answered = Some(verdict);
        }
        if verdict == Verdict::Current {
            self.verified = Some(now);
        }
    }

    /// Takes what a probe has seen. What a server that does not answer served before may still be in force.
    pub fn seen(&mut self, answer: &verify::Answer, now: SystemTime) {
        match answer {
            verify::Answer::Nothing(_) => {}
            verify::Answer::Plaintext => self.served = None,
            verify::Answer::Served(served) => {
                let serial = served.leaf.serial().to_string();
                let since = self.served.as_ref().filter(|before| before.serial == serial);
                let since = since.map_or(now, |before| before.since);
                let authorities_by = served.proof();
                let not_after = served.not_after();
                self.served = Some(Served { serial, not_after, since, authorities_by });
            }
        }
    }
}

/// What a server was seen to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The leaf's serial number, in full.
    pub serial: String,
    /// When the leaf expires.
    pub not_after: SystemTime,
    /// When it was first seen.
    pub since: SystemTime,
    /// By what the server's authorities were last proven.
    pub authorities_by: verify::Proof,
}

/// The sessions on the server, other than our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// When they were counted.
    pub at: Option<SystemTime>,
    /// How many there are of each kind of connection; each kind that there is.
    pub by_protocol: Vec<(&'static str, u64)>,
    /// How many TLS sessions are older than the life of our SVID. An estimate of those whose client certificate has
    /// expired since: PostgreSQL does not tell its validity.
    pub older_than_svid: u64,
}
