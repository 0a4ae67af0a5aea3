//! The status as one document: the answer of `/status`, and the source of the page and of `pgsvid status`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::finding_view::FindingView;
use super::hook_view::HookView;
use super::instances::InstancesView;
use super::outlived_view::OutlivedView;
use super::replication_view::ReplicationView;
use super::secret_view::SecretView;
use super::time::Time;
use super::token::TokenView;
use super::{Certificates, Consumer, Hook, Kind, Login, Outcome, Restarts, Sessions, Status};
use crate::finding::Code;
use crate::timing;

/// The kind of a target.
const DIRECTORY: &str = "directory";
const MEMORY: &str = "memory";
/// The kind of a consumer that is a hook.
const HOOK: &str = "hook";

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

/// A place where sets are published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetView {
    /// `directory`, or `memory` if the set only goes to Kubernetes Secrets.
    pub kind: String,
    /// The path of the directory; empty for `memory`.
    pub name: String,
    /// The set on disk; `None` if none is published yet.
    pub published: Option<PublishedView>,
    /// Why readers do not find the published set under the published names; `None` if they do.
    pub displaced: Option<String>,
    /// What keeps the newest identity from being published; `None` if nothing does.
    pub problem: Option<String>,
    /// Why readers do not find the newest identity, which names the published set lacks, and which have changed, each with
    /// its remedy. Older daemons do not send this.
    #[serde(default)]
    pub findings: Vec<FindingView>,
    /// When the next attempt to publish is due, if one is.
    pub retry: Option<Time>,
}

/// A reader of the published set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConsumerView {
    /// `postgres`, `pgbouncer`, `patroni`, `client`, `secrets`, `served` or `hook`.
    pub kind: String,
    /// Its name, which no other consumer has.
    pub name: String,
    /// The latest verdict, as in `docs/troubleshooting.md`; `None` before the first verification.
    pub verdict: Option<String>,
    /// When a handshake last proved that the consumer serves the published set; for a client, when it was last let in.
    pub verified: Option<Time>,
    /// What it was last seen to serve; `None` if it was never seen.
    pub served: Option<ServedView>,
    /// Whether a reload has not followed the latest publication yet.
    pub reload_pending: bool,
    /// What keeps the published set from being in force; `None` if nothing does.
    pub problem: Option<String>,
    /// The causes of the problem, and their remedies.
    pub findings: Vec<FindingView>,
    /// When the next attempt is due, if one is.
    pub retry: Option<Time>,
    /// The sessions on the consumer; `None` if the role may not see them.
    pub sessions: Option<SessionsView>,
    /// Its replication connections; `None` if the role may not see them. Older daemons do not send this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationView>,
    /// What the role lacks to see, or to end, the sessions of others. Older daemons do not send this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_rights: Option<FindingView>,
    /// The part that only a client has; `None` for other consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginView>,
    /// The Kubernetes Secrets, if this is their writer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretView>,
    /// The instances of a `[[served]]`; `None` for other consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<InstancesView>,
    /// The part that only a hook has; `None` for other consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookView>,
}

impl ConsumerView {
    /// The program's name, for people.
    #[must_use]
    pub fn program(&self) -> &'static str {
        let kinds = [Kind::Pgbouncer, Kind::Patroni, Kind::Client, Kind::Secrets, Kind::Served];
        let kind = kinds.into_iter().find(|kind| self.kind == kind.name());
        kind.unwrap_or_default().program()
    }

    fn of_hook(hook: &Hook) -> Self {
        Self {
            kind: HOOK.to_owned(),
            name: hook.name.clone(),
            verdict: None,
            verified: None,
            served: None,
            reload_pending: hook.pending,
            problem: hook.problem.clone(),
            findings: hook.findings.iter().map(FindingView::of).collect(),
            retry: hook.retry.map(Time),
            sessions: None,
            replication: None,
            session_rights: None,
            login: None,
            secrets: Vec::new(),
            instances: None,
            hook: Some(HookView::of(hook)),
        }
    }

    fn of(consumer: &Consumer, now: SystemTime) -> Self {
        Self {
            kind: consumer.kind.name().to_owned(),
            name: consumer.name.clone(),
            verdict: consumer.verdict_at(now).map(|verdict| verdict.name().to_owned()),
            verified: consumer.verified.map(Time),
            served: consumer.served.as_ref().map(|served| ServedView {
                serial: served.serial.clone(),
                not_after: Time(served.not_after),
                since: Time(served.since),
                seen: Some(Time(served.seen)),
                authorities_by: served.authorities_by.name().to_owned(),
            }),
            reload_pending: consumer.reload_pending,
            problem: consumer.problem.clone(),
            findings: consumer.all_findings().map(FindingView::of).collect(),
            retry: consumer.retry.map(Time),
            sessions: consumer.sessions.as_ref().map(SessionsView::of),
            replication: consumer.replication.as_ref().map(ReplicationView::of),
            session_rights: consumer.session_rights.as_ref().map(FindingView::of),
            login: consumer.login.as_ref().map(LoginView::of),
            secrets: consumer.secrets.iter().map(SecretView::of).collect(),
            instances: consumer.instances.as_ref().map(|it| InstancesView::of(it, now)),
            hook: None,
        }
    }
}

/// The login of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginView {
    /// The role.
    pub role: String,
    /// The database.
    pub database: String,
    /// The address of the last login; `None` before the first.
    pub address: Option<String>,
    /// Whether `/readyz` answers 503 while the client is refused.
    pub readiness: bool,
}

impl LoginView {
    fn of(login: &Login) -> Self {
        let Login { role, database, address, readiness } = login.clone();
        Self { role, database, address, readiness }
    }

    /// One phrase for people: who logs in, and when that last succeeded.
    #[must_use]
    pub fn in_words(&self, verified: Option<Time>, now: Time) -> String {
        let at = self.address.as_ref().map(|it| format!(" at {it}")).unwrap_or_default();
        let last = match verified {
            Some(moment) => format!("last let in {} ago", timing::roughly(moment.until(now))),
            None => "never let in".to_owned(),
        };
        format!("{} in {}{at}, {last}", self.role, self.database)
    }
}

/// The set on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedView {
    /// Number of the publication in this process, from 1; 0 is a set that an earlier process left.
    pub generation: u64,
    /// The SPIFFE ID; for a certificate without one, its DNS names or its subject.
    pub spiffe_id: String,
    /// The leaf's serial number in hexadecimal, with colons.
    pub serial: String,
    /// SHA-256 of the leaf's DER, in hexadecimal.
    pub sha256: String,
    /// Start of the leaf's validity.
    pub not_before: Time,
    /// When the chain expires.
    pub not_after: Time,
    /// When the first of the published authorities expires.
    pub authorities_not_after: Option<Time>,
}

/// What a consumer serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServedView {
    /// The served leaf's serial number in hexadecimal, with colons.
    pub serial: String,
    /// When the served leaf expires.
    pub not_after: Time,
    /// When it was first seen.
    pub since: Time,
    /// When it was last seen. Older daemons do not send this.
    #[serde(default)]
    pub seen: Option<Time>,
    /// How much of the loaded authorities the last handshake proved: `key`, `names` or `nothing`.
    pub authorities_by: String,
}

/// The connection to the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentView {
    /// `connecting`, `streaming`, `not-registered` or `failed`.
    pub connection: String,
    /// The state of the connection, in words.
    pub words: String,
    /// Why its latest message was rejected; `None` if it was not.
    pub rejection: Option<String>,
    /// How often a connection to the agent was opened.
    pub connects: u64,
    /// Since when messages have arrived over the present connection.
    pub connected: Option<Time>,
    /// How many of its messages were rejected.
    pub rejected: u64,
    /// Whether the agent has withdrawn the published identity.
    pub withdrawn: bool,
}

/// The files that another program writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificatesView {
    /// The path of the certificate.
    pub path: String,
    /// Their state, in words.
    pub words: String,
    /// The uid of the certificate's owner.
    pub owner: Option<u32>,
    /// When the certificate was last written.
    pub written: Option<Time>,
    /// Why they have not been a usable set for a while.
    pub trouble: Option<FindingView>,
    /// How often they were not a usable set for a while.
    pub rejected: u64,
}

impl CertificatesView {
    fn of(files: &Certificates, words: &str) -> Self {
        Self {
            path: files.path.clone(),
            words: words.to_owned(),
            owner: files.owner,
            written: files.written.map(Time),
            trouble: files.trouble.as_ref().map(FindingView::of),
            rejected: files.rejected,
        }
    }
}

/// The sessions on a consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionsView {
    /// When they were counted.
    pub at: Option<Time>,
    /// Number of sessions by protocol: `none`, `TLSv1.2`, `TLSv1.3` …; only those that occur.
    pub by_protocol: Vec<(String, u64)>,
    /// Number of TLS sessions older than the SVID's lifetime: an estimate of those whose client certificate has expired.
    pub older_than_svid_estimate: u64,
    /// The sessions that have outlived their client's certificate. Older daemons do not send this.
    #[serde(default)]
    pub outlived: Option<OutlivedView>,
}

impl SessionsView {
    fn of(sessions: &Sessions) -> Self {
        let named = |(protocol, count): &(&'static str, u64)| ((*protocol).to_owned(), *count);
        Self {
            at: sessions.at.map(Time),
            by_protocol: sessions.by_protocol.iter().map(named).collect(),
            older_than_svid_estimate: sessions.older_than_svid,
            outlived: Some(OutlivedView::of(sessions)),
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

/// One entry of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptView {
    /// The consumer; `None` for a publication.
    pub consumer: Option<String>,
    /// When it ended; if `tries` is more than 1, when the last of them ended.
    pub at: Time,
    /// Number of the publication, from 1; 0 is a set that an earlier process left.
    pub generation: u64,
    /// The leaf's serial number.
    pub serial: String,
    /// `completed`, `pending` or `failed`.
    pub outcome: String,
    /// The step with which it ended: `publish`, `reload` or `verify`.
    pub step: String,
    /// How many attempts in a row ended like this.
    pub tries: u64,
    /// The verdict of its verification, if there was one.
    pub verdict: Option<String>,
    /// Duration of the publication in milliseconds, if there was one.
    pub publish_ms: Option<f64>,
    /// Duration of the reload in milliseconds, if there was one.
    pub reload_ms: Option<f64>,
    /// Duration of the verification in milliseconds, if there was one.
    pub verify_ms: Option<f64>,
    /// From the start of the publication to its proof, in milliseconds, including retries; once it is proven.
    pub whole_ms: Option<f64>,
    /// Why it failed.
    pub problem: Option<String>,
    /// The codes of the findings about it.
    pub codes: Vec<String>,
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
        let naming = status.names(now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Time(now),
            started: status.started.map(Time),
            restarts: status.restarts.clone(),
            ready: readiness.is_ready(),
            missing: readiness.missing,
            degraded: readiness.degraded,
            targets: vec![TargetView {
                kind: if status.directory.is_empty() { MEMORY } else { DIRECTORY }.to_owned(),
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
                findings: status
                    .delay(now)
                    .iter()
                    .chain(&naming)
                    .chain(status.order(now))
                    .map(FindingView::of)
                    .collect(),
                retry: status.retry.map(Time),
            }],
            consumers: status
                .consumers
                .iter()
                .map(|it| ConsumerView::of(it, now))
                .chain(status.hooks.iter().map(ConsumerView::of_hook))
                .collect(),
            tokens: status.tokens.iter().map(|it| TokenView::of(it, now)).collect(),
            agent: status.origin.files().is_none().then(|| AgentView {
                connection: status.connection.name().to_owned(),
                words: status.agent.clone(),
                rejection: status.rejection.clone(),
                connects: status.connects,
                connected: status.connected.map(Time),
                rejected: status.rejections.iter().map(|(_, count)| count).sum(),
                withdrawn: status.withdrawn,
            }),
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
