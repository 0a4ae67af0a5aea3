//! The state of one consumer: what it serves, and what keeps the published set from being in force there.

use std::time::{Duration, SystemTime};

use super::{Instances, Replication, ServerSide};
use crate::finding::Finding;
use crate::verify::{self, Verdict};

/// What a consumer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A PostgreSQL.
    #[default]
    Postgres,
    /// A PgBouncer.
    Pgbouncer,
    /// The REST API of a Patroni.
    Patroni,
    /// A client, which serves nothing, but logs in with the published set.
    Client,
    /// The writer of Kubernetes Secrets.
    Secrets,
    /// The servers behind a name, which others reload.
    Served,
}

impl Kind {
    /// Its name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Pgbouncer => "pgbouncer",
            Self::Patroni => "patroni",
            Self::Client => "client",
            Self::Secrets => "secrets",
            Self::Served => "served",
        }
    }

    /// The program's name, for people.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Pgbouncer => "PgBouncer",
            Self::Patroni => "Patroni",
            Self::Client => "Client",
            Self::Secrets => "Kubernetes",
            Self::Served => "Served",
        }
    }

    /// Whether it reads the published set, and serves it.
    #[must_use]
    pub fn reads_the_set(self) -> bool {
        match self {
            Self::Postgres | Self::Pgbouncer | Self::Patroni => true,
            Self::Client | Self::Secrets | Self::Served => false,
        }
    }
}

/// A reader of the published set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumer {
    /// What it is.
    pub kind: Kind,
    /// Its name, which no other consumer has.
    pub name: String,
    /// The verdict of the latest verification; `None` before the first.
    pub verdict: Option<Verdict>,
    /// The latest verdict from an answer; it stays while the consumer does not answer.
    pub answered: Option<Verdict>,
    /// Who logs in, if this is a client.
    pub login: Option<Login>,
    /// Its instances, if these are the servers behind a name.
    pub instances: Option<Instances>,
    /// What it was last seen to serve; of several instances, the one with the worst verdict.
    pub served: Option<Served>,
    /// When the published set was last proven to be served; for a client, when it was last let in.
    pub verified: Option<SystemTime>,
    /// What keeps the published set from being in force, in one sentence.
    pub problem: Option<String>,
    /// The causes of the problem, and their remedies, as far as they are known.
    pub findings: Vec<Finding>,
    /// The settings that keep published files from being used, even if it serves the right certificate.
    pub concerns: Vec<Finding>,
    /// Whether it opens the source's own files at each connection that it makes.
    pub opens_in_place: bool,
    /// Why these connections fail: those files are no usable set.
    pub in_place: Option<Finding>,
    /// Whether a reload has not followed the latest publication yet.
    pub reload_pending: bool,
    /// What is not proven although the consumer serves the right set, in one sentence; `None` if all is proven.
    pub unproven: Option<&'static str>,
    /// When the next attempt is due, if one is.
    pub retry: Option<SystemTime>,
    /// What it shows to PostgreSQL, if this is a PgBouncer.
    pub server_side: Option<ServerSide>,
    /// Its sessions, if the role may see them.
    pub sessions: Option<Sessions>,
    /// Its replication connections, if the role may see them.
    pub replication: Option<Replication>,
    /// What the role lacks to see, or to end, the sessions of others.
    pub session_rights: Option<Finding>,
    /// The Secrets, if this is their writer.
    pub secrets: Vec<Secret>,
}

/// A Kubernetes Secret that pgsvid writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it was last seen to hold the published set.
    pub holds: bool,
    /// When pgsvid has last written it; `None` if this process has not.
    pub written: Option<SystemTime>,
    /// How often this process has restored it after somebody had changed or deleted it.
    pub restored: u64,
}

impl Consumer {
    /// A consumer about which nothing is known yet.
    #[must_use]
    pub fn named(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), ..Self::default() }
    }

    /// What is wrong with the files that it opens, the causes of the problem, then the concerns that are not among them.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let is_reported = |concern: &&Finding| {
            self.findings.iter().any(|it| (it.code, &it.object) == (concern.code, &concern.object))
        };
        let concerns = self.concerns.iter().filter(move |it| !is_reported(it));
        self.in_place.iter().chain(&self.findings).chain(concerns)
    }

    /// Records a verdict.
    pub fn judged(&mut self, verdict: Verdict, now: SystemTime) {
        self.verdict = Some(verdict);
        if !matches!(verdict, Verdict::Unreachable | Verdict::Unavailable) {
            self.answered = Some(verdict);
        }
        if matches!(verdict, Verdict::Current | Verdict::Admitted | Verdict::HandedOver) {
            self.verified = Some(now);
        }
    }

    /// Records the verdict on a server that has no TLS parameters in common with the probe. `handed_over` means that it was
    /// asked to reload, and that nothing shows that it could not. If it is false, the verdict does not count as an answer.
    pub fn judged_unspoken(&mut self, handed_over: bool) {
        self.verdict = Some(Verdict::Unverifiable);
        if handed_over {
            self.answered = self.verdict;
            // An earlier observation does not show what is in force now.
            self.served = None;
        }
    }

    /// The verdict at `now`. A certificate may expire without an event.
    #[must_use]
    pub fn verdict_at(&self, now: SystemTime) -> Option<Verdict> {
        let accepted = matches!(self.verdict, Some(Verdict::Current | Verdict::OldAuthorities));
        let expired = self.served.as_ref().is_some_and(|served| served.not_after <= now);
        if accepted && expired { Some(Verdict::Expired) } else { self.verdict }
    }

    /// Records what a probe has seen. If a server does not answer, what it served before may still be in force.
    pub fn seen(&mut self, answer: &verify::Answer, now: SystemTime) {
        match answer {
            verify::Answer::Nothing(_) | verify::Answer::Refused(_) | verify::Answer::TooLarge => {}
            verify::Answer::Plaintext => self.served = None,
            verify::Answer::Served(served) => {
                let serial = served.leaf.serial().to_string();
                let since = self.served.as_ref().filter(|before| before.serial == serial);
                let since = since.map_or(now, |before| before.since);
                let authorities_by = served.proof();
                let not_after = served.not_after();
                self.served = Some(Served { serial, not_after, since, seen: now, authorities_by });
            }
        }
    }
}

/// Who logs in as a client, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub role: String,
    /// The database.
    pub database: String,
    /// The address of the last login; `None` before the first.
    pub address: Option<String>,
    /// Whether a refusal makes pgsvid not ready.
    pub readiness: bool,
}

/// What a server was last seen to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The leaf's serial number, in full.
    pub serial: String,
    /// When the leaf expires.
    pub not_after: SystemTime,
    /// When it was first seen.
    pub since: SystemTime,
    /// When it was last seen.
    pub seen: SystemTime,
    /// How much of the server's authorities the latest handshake proved.
    pub authorities_by: verify::Proof,
}

/// The sessions on the server, without pgsvid's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// When they were counted.
    pub at: Option<SystemTime>,
    /// Number of sessions by kind of connection; only kinds that occur.
    pub by_protocol: Vec<(&'static str, u64)>,
    /// Number of TLS sessions older than the lifetime of the SVID. It is an estimate of those whose client certificate has
    /// expired since, because PostgreSQL does not report its validity.
    pub older_than_svid: u64,
    /// Number of sessions whose client has shown a certificate.
    pub certified: u64,
    /// The longest life of a client's certificate.
    pub life: Duration,
    /// The sessions that are older than that life, by role.
    pub outlived: Vec<Outlived>,
    /// How many of them this process has ended.
    pub ended: u64,
}

/// The sessions of one role that have outlived the certificate of their client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlived {
    /// The role; `other` for all that are not counted by name.
    pub role: String,
    /// Number of sessions by the time since the certificate must have expired; each label is the upper limit of that time.
    pub by_age: Vec<(&'static str, u64)>,
    /// The time since the certificate of the oldest session must have expired.
    pub longest: Duration,
}
