//! The status as one document: what `/status` answers, and what the page and `pgsvid status` are drawn from.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Outcome, Status};
use crate::finding::{Code, Finding};
use crate::timing;

/// The whole document. Times are RFC 3339 in UTC; durations are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Status` say it")]
pub struct View {
    pub version: String,
    /// When the document was made.
    pub at: Time,
    pub started: Option<Time>,
    pub ready: bool,
    /// What is missing, if it is not ready.
    pub missing: Vec<String>,
    /// What is not as it should be, though ready.
    pub degraded: Vec<String>,
    /// Whether a server is reloaded and verified.
    pub takes_part: bool,
    pub verdict: Option<String>,
    pub verified: Option<Time>,
    pub problem: Option<String>,
    /// What brings the problem about, and what fixes it.
    pub findings: Vec<FindingView>,
    pub reload_pending: bool,
    /// When the next try is due.
    pub retry: Option<Time>,
    pub published: Option<PublishedView>,
    pub served: Option<ServedView>,
    pub agent: AgentView,
    /// When the agent should renew what is published.
    pub renewal: Option<Time>,
    pub sessions: Option<SessionsView>,
    /// Completed rotations, and failed attempts.
    pub completed: u64,
    pub failed: u64,
    /// How long a rotation takes, in the middle of those of the history.
    pub median_ms: Option<f64>,
    /// The newest first.
    pub history: Vec<AttemptView>,
}

/// What brings a problem about. The code is a word: another version may have codes that this one does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Finding` say it")]
pub struct FindingView {
    pub code: String,
    pub severity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl FindingView {
    fn of(found: &Finding) -> Self {
        let Finding { code, severity, object, text, cause, fix, .. } = found.clone();
        let (code, severity) = (code.name().to_owned(), severity.name().to_owned());
        Self { code, severity, object, text, cause, fix }
    }

    /// Why something is wrong: the cause, or the text where that says it.
    #[must_use]
    pub fn why(&self) -> &str {
        self.cause.as_ref().unwrap_or(&self.text)
    }
}

/// The set on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Published` say it")]
pub struct PublishedView {
    pub generation: u64,
    pub spiffe_id: String,
    pub serial: String,
    pub sha256: String,
    pub not_before: Time,
    pub not_after: Time,
    pub authorities_not_after: Option<Time>,
}

/// What is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Served` say it")]
pub struct ServedView {
    pub serial: String,
    pub not_after: Time,
    pub since: Time,
    pub authorities_by: String,
}

/// The agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Status` say it")]
pub struct AgentView {
    pub connection: String,
    pub words: String,
    /// Why its last message was rejected.
    pub rejection: Option<String>,
    pub connects: u64,
    /// Since when messages have come.
    pub connected: Option<Time>,
    pub rejected: u64,
    pub withdrawn: bool,
}

/// The sessions on the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Sessions` say it")]
pub struct SessionsView {
    pub at: Option<Time>,
    pub by_protocol: Vec<(String, u64)>,
    pub older_than_svid_estimate: u64,
}

/// One line of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Attempt` say it")]
pub struct AttemptView {
    pub at: Time,
    pub generation: u64,
    pub serial: String,
    pub outcome: String,
    pub step: String,
    pub tries: u64,
    pub verdict: Option<String>,
    pub publish_ms: Option<f64>,
    pub reload_ms: Option<f64>,
    pub verify_ms: Option<f64>,
    pub whole_ms: Option<f64>,
    pub problem: Option<String>,
    /// The codes of the findings that brought it about.
    pub codes: Vec<String>,
}

impl View {
    /// What is known, at `now`.
    #[must_use]
    pub fn of(status: &Status, now: SystemTime) -> Self {
        let readiness = status.readiness(now);
        let total = |outcome| {
            super::Step::ALL.iter().map(|step| status.history.count(outcome, *step)).sum()
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Time(now),
            started: status.started.map(Time),
            ready: readiness.is_ready(),
            missing: readiness.missing,
            degraded: readiness.degraded,
            takes_part: status.takes_part,
            verdict: status.verdict.map(|verdict| verdict.name().to_owned()),
            verified: status.verified.map(Time),
            problem: status.problem.clone(),
            findings: status.findings.iter().map(FindingView::of).collect(),
            reload_pending: status.reload_pending,
            retry: status.retry.map(Time),
            published: status.published.as_ref().map(|set| PublishedView {
                generation: set.generation,
                spiffe_id: set.spiffe_id.clone(),
                serial: set.serial.clone(),
                sha256: set.leaf.to_string(),
                not_before: Time(set.not_before),
                not_after: Time(set.not_after),
                authorities_not_after: set.authorities_not_after.map(Time),
            }),
            served: status.served.as_ref().map(|served| ServedView {
                serial: served.serial.clone(),
                not_after: Time(served.not_after),
                since: Time(served.since),
                authorities_by: served.authorities_by.name().to_owned(),
            }),
            agent: AgentView {
                connection: status.connection.name().to_owned(),
                words: status.agent.clone(),
                rejection: status.rejection.clone(),
                connects: status.connects,
                connected: status.connected.map(Time),
                rejected: status.rejections.iter().map(|(_, count)| count).sum(),
                withdrawn: status.withdrawn,
            },
            renewal: status.renewal().map(Time),
            sessions: status.sessions.as_ref().map(|sessions| SessionsView {
                at: sessions.at.map(Time),
                by_protocol: sessions
                    .by_protocol
                    .iter()
                    .map(|(protocol, count)| ((*protocol).to_owned(), *count))
                    .collect(),
                older_than_svid_estimate: sessions.older_than_svid,
            }),
            completed: total(Outcome::Completed),
            failed: total(Outcome::Failed),
            median_ms: status.history.median().map(timing::milliseconds),
            history: status
                .history
                .newest_first()
                .map(|attempt| AttemptView {
                    at: Time(attempt.at),
                    generation: attempt.generation,
                    serial: attempt.serial.clone(),
                    outcome: attempt.outcome.name().to_owned(),
                    step: attempt.step.name().to_owned(),
                    tries: attempt.tries,
                    verdict: attempt.verdict.map(|verdict| verdict.name().to_owned()),
                    publish_ms: attempt.publish.map(timing::milliseconds),
                    reload_ms: attempt.reload.map(timing::milliseconds),
                    verify_ms: attempt.verify.map(timing::milliseconds),
                    whole_ms: attempt.whole.map(timing::milliseconds),
                    problem: attempt.problem.clone(),
                    codes: attempt.codes.iter().map(Code::to_string).collect(),
                })
                .collect(),
        }
    }
}

/// A time of the document, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub SystemTime);

impl Time {
    /// From this one to a later one; nothing if that is earlier.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        later.0.duration_since(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&timing::utc(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(serde::de::Error::custom)
    }
}
