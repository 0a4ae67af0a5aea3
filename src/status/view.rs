//! The status as one document: what `/status` answers, and what the page and `pgsvid status` are drawn from.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Consumer, Outcome, Sessions, Status};
use crate::finding::{Code, Finding};
use crate::timing;

/// The kind of a target.
const DIRECTORY: &str = "directory";
/// The kind of a consumer.
const POSTGRES: &str = "postgres";

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
    /// Where sets are published.
    pub targets: Vec<TargetView>,
    /// What reads them; none where only files are published.
    pub consumers: Vec<ConsumerView>,
    pub agent: AgentView,
    /// When the agent should renew what is published.
    pub renewal: Option<Time>,
    /// Completed rotations, attempts for which waiting was enough, and failed ones.
    pub completed: u64,
    pub pending: u64,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl FindingView {
    fn of(found: &Finding) -> Self {
        let Finding { code, severity, object, text, cause, fix, command } = found.clone();
        let (code, severity) = (code.name().to_owned(), severity.name().to_owned());
        let command = command.map(String::from);
        Self { code, severity, object, text, cause, fix, command }
    }

    /// Why something is wrong: the cause, or the text where that says it.
    #[must_use]
    pub fn why(&self) -> &str {
        self.cause.as_ref().unwrap_or(&self.text)
    }
}

/// Where sets are published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Status` say it")]
pub struct TargetView {
    /// `directory`.
    pub kind: String,
    /// Of a directory, its path.
    pub name: String,
    pub published: Option<PublishedView>,
    /// Why readers do not find the published set there.
    pub displaced: Option<String>,
    /// What keeps the newest identity from being published.
    pub problem: Option<String>,
    /// When the next try to publish is due.
    pub retry: Option<Time>,
}

/// What reads the published set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Consumer` say it")]
pub struct ConsumerView {
    /// `postgres`.
    pub kind: String,
    pub name: String,
    pub verdict: Option<String>,
    pub verified: Option<Time>,
    pub served: Option<ServedView>,
    pub reload_pending: bool,
    pub problem: Option<String>,
    /// What brings the problem about, and what fixes it.
    pub findings: Vec<FindingView>,
    /// When the next try is due.
    pub retry: Option<Time>,
    pub sessions: Option<SessionsView>,
}

impl ConsumerView {
    fn of(consumer: &Consumer) -> Self {
        Self {
            kind: POSTGRES.to_owned(),
            name: consumer.name.clone(),
            verdict: consumer.verdict.map(|verdict| verdict.name().to_owned()),
            verified: consumer.verified.map(Time),
            served: consumer.served.as_ref().map(|served| ServedView {
                serial: served.serial.clone(),
                not_after: Time(served.not_after),
                since: Time(served.since),
                authorities_by: served.authorities_by.name().to_owned(),
            }),
            reload_pending: consumer.reload_pending,
            problem: consumer.problem.clone(),
            findings: consumer.findings.iter().map(FindingView::of).collect(),
            retry: consumer.retry.map(Time),
            sessions: consumer.sessions.as_ref().map(SessionsView::of),
        }
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

impl SessionsView {
    fn of(sessions: &Sessions) -> Self {
        let named = |(protocol, count): &(&'static str, u64)| ((*protocol).to_owned(), *count);
        Self {
            at: sessions.at.map(Time),
            by_protocol: sessions.by_protocol.iter().map(named).collect(),
            older_than_svid_estimate: sessions.older_than_svid,
        }
    }

    /// One phrase for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let counts = self.by_protocol.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<_> =
            counts.map(|(protocol, count)| format!("{count} {protocol}")).collect();
        let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        let older = self.older_than_svid_estimate;
        format!("{counts}; about {older} older than the certificate's life")
    }
}

/// One line of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Attempt` say it")]
pub struct AttemptView {
    /// The consumer that it was about; none for a publication.
    pub consumer: Option<String>,
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
    /// The set that is published, where there is one.
    #[must_use]
    pub fn published(&self) -> Option<&PublishedView> {
        self.targets.iter().find_map(|target| target.published.as_ref())
    }

    /// The name of a consumer before what is said of it; empty where there is one alone.
    #[must_use]
    pub fn prefix(&self, consumer: &ConsumerView) -> String {
        if self.consumers.len() > 1 { format!("{}: ", consumer.name) } else { String::new() }
    }

    /// When the next try is due, of whatever is being retried.
    #[must_use]
    pub fn retry(&self) -> Option<Time> {
        let targets = self.targets.iter().filter_map(|target| target.retry);
        targets.chain(self.consumers.iter().filter_map(|consumer| consumer.retry)).min()
    }

    /// What is known, at `now`.
    #[must_use]
    pub fn of(status: &Status, now: SystemTime) -> Self {
        let readiness = status.readiness(now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Time(now),
            started: status.started.map(Time),
            ready: readiness.is_ready(),
            missing: readiness.missing,
            degraded: readiness.degraded,
            targets: vec![TargetView {
                kind: DIRECTORY.to_owned(),
                name: status.directory.clone(),
                published: status.published.as_ref().map(|set| PublishedView {
                    generation: set.generation,
                    spiffe_id: set.spiffe_id.clone(),
                    serial: set.serial.clone(),
                    sha256: set.leaf.to_string(),
                    not_before: Time(set.not_before),
                    not_after: Time(set.not_after),
                    authorities_not_after: set.authorities_not_after.map(Time),
                }),
                displaced: status.displaced.clone(),
                problem: status.problem.clone(),
                retry: status.retry.map(Time),
            }],
            consumers: status.consumers.iter().map(ConsumerView::of).collect(),
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
            completed: status.history.count(Outcome::Completed),
            pending: status.history.count(Outcome::Pending),
            failed: status.history.count(Outcome::Failed),
            median_ms: status.history.median().map(timing::milliseconds),
            history: status
                .history
                .newest_first()
                .map(|attempt| AttemptView {
                    consumer: attempt.consumer.clone(),
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
