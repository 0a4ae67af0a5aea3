//! What one attempt to have the published set served has shown.

use std::time::Duration;

use super::login::Unasked;
use crate::consumers::delivery::{Asked, Shown};
use crate::finding::Finding;
use crate::material::Fingerprint;
use crate::sql::{self, Retry};
use crate::verify::{self, Facts, Verdict};

/// What one attempt has shown.
pub(crate) struct Attempt {
    /// How long the reload took; `None` if there was none.
    pub(crate) reload: Option<Duration>,
    /// Why SQL was not to be had.
    pub(crate) sql: Option<sql::Error>,
    /// How long the verification took.
    pub(crate) verify: Duration,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    /// The published one.
    pub(super) leaf: Fingerprint,
    pub(super) findings: Vec<Finding>,
    /// A session that is still to be asked.
    pub(super) unasked: Option<Unasked>,
}

impl Attempt {
    /// Whether the published leaf is served, and has expired: the server is not at fault.
    pub(crate) fn has_outlived_its_renewal(&self) -> bool {
        self.verdict == Verdict::Expired
            && matches!(&self.facts.answer, verify::Answer::Served(served)
                if served.leaf.fingerprint() == self.leaf)
    }

    /// What a test says.
    #[cfg(test)]
    pub(in crate::consumers) fn scripted(
        leaf: Fingerprint,
        verdict: Verdict,
        sql: Option<sql::Error>,
    ) -> Self {
        let facts =
            Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) };
        let (reload, verify, findings) = (None, Duration::ZERO, Vec::new());
        Self { reload, sql, verify, facts, verdict, leaf, findings, unasked: None }
    }

    /// The session that is still to be asked, by `Consumer::ask`.
    pub(crate) fn take_unasked(&mut self) -> Option<Unasked> {
        self.unasked.take()
    }

    /// What the attempt means for what comes next.
    pub(in crate::consumers) fn shown(&self) -> Shown {
        let asked = match self.sql.as_ref().map(|_| self.retry()) {
            None => Asked::Yes,
            Some(Retry::Soon) => Asked::NotYet,
            Some(Retry::Slowly) => Asked::Refused,
        };
        Shown { verdict: self.verdict, asked }
    }

    /// When another try makes sense.
    pub(super) fn retry(&self) -> Retry {
        self.sql.as_ref().map_or(Retry::Soon, sql::Error::retry)
    }
}
