//! One consumer in the document, with the parts that only some kinds have.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::finding_view::FindingView;
use super::hook_view::HookView;
use super::instances::InstancesView;
use super::outlived_view::OutlivedView;
use super::replication_view::ReplicationView;
use super::secret_view::SecretView;
use super::server_side::ServerSideView;
use super::time::Time;
use super::{Consumer, Hook, Kind, Login, Sessions};
use crate::timing;

/// The kind of a consumer that is a hook.
const HOOK: &str = "hook";

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
    /// What a PgBouncer shows to PostgreSQL; `None` for other consumers. Older daemons do not send this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side: Option<ServerSideView>,
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

    pub(super) fn of_hook(hook: &Hook) -> Self {
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
            server_side: None,
            sessions: None,
            replication: None,
            session_rights: None,
            login: None,
            secrets: Vec::new(),
            instances: None,
            hook: Some(HookView::of(hook)),
        }
    }

    pub(super) fn of(consumer: &Consumer, now: SystemTime) -> Self {
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
            server_side: consumer.server_side.as_ref().map(ServerSideView::of),
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
