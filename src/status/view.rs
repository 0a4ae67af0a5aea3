//! The status as one document: the answer of `/status`, and the source of the page and of `pgsvid status`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::attempt_view::AttemptView;
use super::consumer_view::ConsumerView;
use super::finding_view::FindingView;
use super::source_view::{AgentView, CertificatesView};
use super::target_view::{PublishedView, TargetView};
use super::time::Time;
use super::token::TokenView;
use super::{Outcome, Restarts, Status};
use crate::timing;

/// The whole document. Times are RFC 3339 in UTC, to the second; durations are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    /// The version of pgsvid, such as `0.1.0`.
    pub version: String,
    /// When the document was made.
    pub at: Time,
    /// When the daemon started.
    pub started: Option<Time>,
    /// The daemons before it that have ended unexpectedly; `None` if it is the first. Older daemons do not send this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// The reasons why it is not ready, one sentence each; empty if it is ready.
    pub missing: Vec<String>,
    /// Problems that do not make it not ready, one sentence each.
    pub degraded: Vec<String>,
    /// Where sets are published.
    pub targets: Vec<TargetView>,
    /// The consumers of the published set; empty if files are only published.
    pub consumers: Vec<ConsumerView>,
    /// The files with tokens, and that of the JWT bundle. Older daemons do not send this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenView>,
    /// The connection to the agent, if it is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentView>,
    /// The files that another program writes, if they are the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<CertificatesView>,
    /// When the published set should be renewed, which an agent does at half of its lifetime; `None` if no renewal is expected.
    pub renewal: Option<Time>,
    /// Whether the renewal is overdue. Older daemons do not send this.
    #[serde(default)]
    pub overdue: bool,
    /// Number of completed attempts, counted for each server; without servers, number of publications.
    pub completed: u64,
    /// Number of attempts after which waiting was enough.
    pub pending: u64,
    /// Number of failed attempts.
    pub failed: u64,
    /// Median duration of the rotations in the history, in milliseconds, including retries; `None` before the first.
    pub median_ms: Option<f64>,
    /// The latest attempts, the newest first.
    pub history: Vec<AttemptView>,
}

impl View {
    /// The published set, if there is one.
    #[must_use]
    pub fn published(&self) -> Option<&PublishedView> {
        self.targets.iter().find_map(|target| target.published.as_ref())
    }

    /// The prefix for a text about a consumer; empty if there is only one consumer.
    #[must_use]
    pub fn prefix(&self, consumer: &ConsumerView) -> String {
        if self.servers().count() > 1 { format!("{}: ", consumer.name) } else { String::new() }
    }

    /// The consumers with a verdict: all except hooks.
    pub fn servers(&self) -> impl Iterator<Item = &ConsumerView> {
        self.consumers.iter().filter(|consumer| consumer.hook.is_none())
    }

    /// The hooks, each with a phrase that describes its state.
    pub fn hooks(&self) -> impl Iterator<Item = (&ConsumerView, String)> {
        self.consumers
            .iter()
            .filter_map(|it| Some((it, it.hook.as_ref()?.in_words(it.problem.is_some(), self.at))))
    }

    /// The causes of problems: of the published set, then of its consumers, then of tokens.
    pub fn findings(&self) -> impl Iterator<Item = &FindingView> {
        let targets = self.targets.iter().flat_map(|target| &target.findings);
        targets
            .chain(self.consumers.iter().flat_map(|consumer| &consumer.findings))
            .chain(self.tokens.iter().filter_map(|token| token.finding.as_ref()))
    }

    /// Whether `missing` or `degraded` contains this sentence already.
    #[must_use]
    pub fn says(&self, sentence: &str) -> bool {
        self.missing.iter().chain(&self.degraded).any(|said| said == sentence)
    }

    /// When the next attempt of any kind is due.
    #[must_use]
    pub fn retry(&self) -> Option<Time> {
        let targets = self.targets.iter().filter_map(|target| target.retry);
        targets.chain(self.consumers.iter().filter_map(|consumer| consumer.retry)).min()
    }

    /// The status at `now`.
    #[must_use]
    pub fn of(status: &Status, now: SystemTime) -> Self {
        let readiness = status.readiness(now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Time(now),
            started: status.started.map(Time),
            restarts: status.restarts.clone(),
            ready: readiness.is_ready(),
            missing: readiness.missing,
            degraded: readiness.degraded,
            targets: vec![TargetView::of(status, now)],
            consumers: status
                .consumers
                .iter()
                .map(|it| ConsumerView::of(it, now))
                .chain(status.hooks.iter().map(ConsumerView::of_hook))
                .collect(),
            tokens: status.tokens.iter().map(|it| TokenView::of(it, now)).collect(),
            agent: status.origin.files().is_none().then(|| AgentView::of(status)),
            certificates: status
                .origin
                .files()
                .map(|files| CertificatesView::of(files, &status.agent)),
            renewal: status.renewal().map(Time),
            overdue: status.overdue(now).is_some(),
            completed: status.history.count(Outcome::Completed),
            pending: status.history.count(Outcome::Pending),
            failed: status.history.count(Outcome::Failed),
            median_ms: status.history.median().map(timing::milliseconds),
            history: status.history.newest_first().map(AttemptView::of).collect(),
        }
    }
}
