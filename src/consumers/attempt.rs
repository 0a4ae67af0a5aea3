//! The result of one attempt to make a consumer serve the published set.

use std::fmt;
use std::time::Duration;

use super::Publication;
use super::delivery::{Asked, Shown};
use crate::finding::Finding;
use crate::material::Fingerprint;
use crate::sql::{self, Retry, Session};
use crate::verify::{self, Facts, Verdict};
use crate::{patroni, pgbouncer};

/// The result of one attempt.
pub(crate) struct Attempt {
    /// How long the reload took; `None` if there was none.
    pub(crate) reload: Option<Duration>,
    /// Why the consumer could not be asked to reload; `None` if it could.
    pub(crate) reload_error: Option<ReloadError>,
    /// How long the verification took.
    pub(crate) verify: Duration,
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    /// The published leaf.
    pub(super) leaf: Fingerprint,
    pub(super) findings: Vec<Finding>,
    /// Why the probe and the server have no TLS parameters in common; `None` if they have.
    pub(super) no_common_tls: Option<Finding>,
    /// What is left to ask once the conclusion is drawn.
    pub(super) unasked: Option<FollowUp>,
}

/// What is left to ask after an attempt.
pub(crate) enum FollowUp {
    /// A PostgreSQL's settings and counts.
    Session(Box<ReloadSession>),
    /// A login through a PgBouncer, with this set.
    Login(Publication),
}

/// A session with a PostgreSQL over which only a reload has been requested so far.
pub(crate) struct ReloadSession {
    pub(super) session: Session,
    pub(super) lives: Lifetimes,
}

/// The lifetimes of certificates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// The lifetime of the published leaf.
    pub(super) own: Duration,
    /// The longest lifetime of a client's certificate.
    pub(super) client: Duration,
}

/// Why a consumer could not be asked to reload.
#[derive(Debug)]
pub(crate) enum ReloadError {
    /// The SQL session with a PostgreSQL failed.
    Session(sql::Error),
    /// The session with a PgBouncer's console failed.
    Console(pgbouncer::Error),
    /// Patroni was not asked, or its REST API did not accept the request.
    Patroni(patroni::Error),
}

impl ReloadError {
    fn retry(&self) -> Retry {
        match self {
            Self::Session(error) => error.retry(),
            Self::Console(error) => error.retry(),
            Self::Patroni(error) => error.retry(),
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Console(error) => error.fmt(f),
            Self::Patroni(error) => error.fmt(f),
        }
    }
}

impl Attempt {
    /// Whether the published leaf is served, but has expired: the server is not at fault.
    pub(crate) fn has_outlived_its_renewal(&self) -> bool {
        self.verdict == Verdict::Expired
            && matches!(&self.facts.answer, verify::Answer::Served(served)
                if served.leaf.fingerprint() == self.leaf)
    }

    /// Whether its verdict needs no further cause: nothing is wrong, nobody answers, or no newer set is published.
    pub(super) fn is_explained(&self) -> bool {
        self.verdict.is_final()
            || self.verdict == Verdict::Unreachable
            || self.has_outlived_its_renewal()
    }

    /// Whether the server answers, but has no TLS parameters in common with the probe.
    pub(crate) fn has_no_common_tls(&self) -> bool {
        matches!(self.facts.answer, verify::Answer::Refused(_))
            && self.verdict == Verdict::Unverifiable
    }

    /// Whether files or settings show what no handshake can: that PostgreSQL cannot have loaded the published set.
    pub(crate) fn is_hindered(&self) -> bool {
        self.has_no_common_tls() && !self.findings.is_empty()
    }

    /// A result that a test defines.
    #[cfg(test)]
    pub(super) fn scripted(leaf: Fingerprint, verdict: Verdict, error: Option<sql::Error>) -> Self {
        let facts =
            Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) };
        let (reload_error, findings) = (error.map(ReloadError::Session), Vec::new());
        let (reload, verify, no_common_tls, unasked) = (None, Duration::ZERO, None, None);
        Self {
            reload,
            reload_error,
            verify,
            facts,
            verdict,
            leaf,
            findings,
            no_common_tls,
            unasked,
        }
    }

    /// What is left to ask, by `Consumer::ask`.
    pub(crate) fn take_unasked(&mut self) -> Option<FollowUp> {
        self.unasked.take()
    }

    /// What the attempt has shown: the verdict, and whether the consumer could be asked to reload.
    pub(super) fn shown(&self) -> Shown {
        let asked = match self.reload_error.as_ref().map(ReloadError::retry) {
            None => Asked::Yes,
            Some(Retry::Soon) => Asked::NotYet,
            Some(Retry::Slowly) => Asked::Refused,
        };
        Shown { verdict: self.verdict, asked }
    }

    /// When another attempt makes sense.
    pub(super) fn retry(&self) -> Retry {
        self.reload_error.as_ref().map_or(Retry::Soon, ReloadError::retry)
    }

    /// Why the session with PgBouncer's console failed; `None` if it did not.
    pub(super) fn console_error(&self) -> Option<&pgbouncer::Error> {
        match &self.reload_error {
            Some(ReloadError::Console(error)) => Some(error),
            Some(ReloadError::Session(_) | ReloadError::Patroni(_)) | None => None,
        }
    }

    /// Why the SQL session with PostgreSQL failed; `None` if it did not.
    pub(super) fn session_error(&self) -> Option<&sql::Error> {
        match &self.reload_error {
            Some(ReloadError::Session(error)) => Some(error),
            Some(ReloadError::Console(_) | ReloadError::Patroni(_)) | None => None,
        }
    }

    /// Why Patroni was not asked; `None` if it was, or if there is nothing to ask for.
    pub(super) fn patroni_error(&self) -> Option<&patroni::Error> {
        match &self.reload_error {
            Some(ReloadError::Patroni(error)) => Some(error),
            Some(ReloadError::Session(_) | ReloadError::Console(_)) | None => None,
        }
    }
}
