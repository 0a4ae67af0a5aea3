//! The result of one attempt to make PostgreSQL serve the published set.

use std::time::Duration;

use super::login::Unasked;
use crate::consumers::delivery::{Asked, Shown};
use crate::finding::Finding;
use crate::material::Fingerprint;
use crate::sql::{self, Retry};
use crate::verify::{self, Facts, Verdict};

/// The result of one attempt.
pub(crate) struct Attempt {
    /// How long the reload took; `None` if there was none.
    pub(crate) reload: Option<Duration>,
    /// Why the SQL session failed.
    pub(crate) sql: Option<sql::Error>,
    /// How long the verification took.
    pub(crate) verify: Duration,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    /// The published leaf.
    pub(super) leaf: Fingerprint,
    pub(super) findings: Vec<Finding>,
    /// Why the probe and the server have nothing in common, if so.
    pub(super) unspoken: Option<Finding>,
    /// A session that can still be queried.
    pub(super) unasked: Option<Unasked>,
}

impl Attempt {
    /// Whether the published leaf is served, but has expired: the server is not at fault.
    pub(crate) fn has_outlived_its_renewal(&self) -> bool {
        self.verdict == Verdict::Expired
            && matches!(&self.facts.answer, verify::Answer::Served(served)
                if served.leaf.fingerprint() == self.leaf)
    }

    /// Whether the server answers, but has no TLS parameters in common with the probe.
    pub(crate) fn is_unspoken(&self) -> bool {
        matches!(self.facts.answer, verify::Answer::Refused(_))
            && self.verdict == Verdict::Unverifiable
    }

    /// Whether files or settings show what no handshake can: that PostgreSQL cannot have loaded the published set.
    pub(crate) fn is_hindered(&self) -> bool {
        self.is_unspoken() && !self.findings.is_empty()
    }

    /// A result that a test defines.
    #[cfg(test)]
    pub(in crate::consumers) fn scripted(
        leaf: Fingerprint,
        verdict: Verdict,
        sql: Option<sql::Error>,
    ) -> Self {
        let facts =
            Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) };
        let (reload, verify, findings) = (None, Duration::ZERO, Vec::new());
        let (unspoken, unasked) = (None, None);
        Self { reload, sql, verify, facts, verdict, leaf, findings, unspoken, unasked }
    }

    /// The session that can still be queried, by `Consumer::ask`.
    pub(crate) fn take_unasked(&mut self) -> Option<Unasked> {
        self.unasked.take()
    }

    /// What the attempt means for the next step.
    pub(in crate::consumers) fn shown(&self) -> Shown {
        let asked = match self.sql.as_ref().map(|_| self.retry()) {
            None => Asked::Yes,
            Some(Retry::Soon) => Asked::NotYet,
            Some(Retry::Slowly) => Asked::Refused,
        };
        Shown { verdict: self.verdict, asked }
    }

    /// When another attempt makes sense.
    pub(super) fn retry(&self) -> Retry {
        self.sql.as_ref().map_or(Retry::Soon, sql::Error::retry)
    }
}
