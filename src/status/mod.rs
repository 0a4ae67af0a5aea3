//! The daemon's present state, from which all status pages and metrics are made. It holds no private key, and starts no action.

mod attempt_view;
mod consumer;
mod consumer_view;
mod finding_view;
mod history;
mod hook;
mod hook_view;
mod instances;
mod metrics;
mod naming;
mod origin;
mod outlived_view;
mod process;
mod pulse;
mod readiness;
mod replication;
mod replication_view;
mod restarts;
mod secret_view;
mod server_side;
mod source_view;
mod target_view;
mod time;
mod token;
mod view;

use std::time::{Duration, SystemTime};

pub use attempt_view::AttemptView;
pub use consumer::{Consumer, Kind, Login, Outlived, Secret, Served, Sessions};
pub use consumer_view::{ConsumerView, LoginView, ServedView, SessionsView};
pub use finding_view::FindingView;
pub use history::{Attempt, History, Outcome, Step};
pub use hook::Hook;
pub use hook_view::HookView;
pub use instances::{Instance, InstanceView, Instances, InstancesView};
pub use metrics::{openmetrics, reference};
pub use naming::Naming;
pub use origin::{Certificates, Origin};
pub use outlived_view::{OutlivedView, RoleView};
pub use pulse::Pulse;
pub use readiness::Readiness;
pub use replication::{Connected, Receives, Replication, Shows};
pub use replication_view::{ConnectionView, ReceiverView, ReplicationView, SubscriptionView};
pub use restarts::Restarts;
pub use secret_view::SecretView;
pub use server_side::{ServerSide, ServerSideView};
pub use source_view::{AgentView, CertificatesView};
pub use target_view::{PublishedView, TargetView};
pub use time::Time;
pub use token::{TokenFile, TokenView};
pub use view::View;

use crate::entries;
use crate::finding::{Code, Finding};
use crate::material::{Certificate, Fingerprint, Material};
use crate::timing;

/// The smallest and the largest delay after which a renewal counts as overdue.
const SHORTEST_DELAY: Duration = Duration::from_secs(2);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The largest such delay if another program writes the certificate files: an authority may be slow, and a kubelet checks once
/// a minute.
const LONGEST_DELAY_OF_FILES: Duration = Duration::from_secs(3600);

/// The daemon's state.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// When this process started.
    pub started: Option<SystemTime>,
    /// The daemons before it; `None` if it is the first.
    pub restarts: Option<Restarts>,
    /// The set on disk.
    pub published: Option<Published>,
    /// The names that the published set lacks, and the names that have changed.
    pub naming: Naming,
    /// That the order of a change of the authorities was not kept, if so, and since when: until the next leaf is published.
    pub order: Option<(Finding, SystemTime)>,
    /// The directory that it is in.
    pub directory: String,
    /// What keeps the newest identity from being published, in one sentence.
    pub problem: Option<String>,
    /// The remedy for that problem, if known.
    pub remedy: Option<Finding>,
    /// Why readers do not find the published set under the published names, in one sentence; `None` if they do.
    pub displaced: Option<String>,
    /// When the next attempt to publish is due, if one is.
    pub retry: Option<SystemTime>,
    /// The consumers of the set; empty if files are only published.
    pub consumers: Vec<Consumer>,
    /// Where identities come from.
    pub origin: Origin,
    /// The commands and signals that follow publications.
    pub hooks: Vec<Hook>,
    /// The files with tokens, and that of the JWT bundle.
    pub tokens: Vec<TokenFile>,
    /// Whether the agent has withdrawn the published identity.
    pub withdrawn: bool,
    /// The latest message that could not be used, or the state of the connection to the agent, in words.
    pub agent: String,
    /// Why its latest message was rejected, in words; `None` if it was not.
    pub rejection: Option<String>,
    /// The connection to the agent.
    pub connection: Connection,
    /// How often it was opened.
    pub connects: u64,
    /// Since when messages have arrived over it.
    pub connected: Option<SystemTime>,
    /// How many of its messages were rejected, by reason; only reasons that occurred.
    pub rejections: Vec<(&'static str, u64)>,
    /// The results of the attempts.
    pub history: History,
    /// The loop's sign of life.
    pub pulse: Pulse,
}

impl Status {
    /// Whether the database should be used.
    #[must_use]
    pub fn readiness(&self, now: SystemTime) -> Readiness {
        readiness::of(self, now)
    }

    /// When the published set should be renewed, which an agent does at half of its lifetime; `None` if no renewal is expected.
    #[must_use]
    pub fn renewal(&self) -> Option<SystemTime> {
        let published = self.published.as_ref().filter(|_| !self.withdrawn)?;
        let life = published.not_after.duration_since(published.not_before).ok()?;
        published.not_before.checked_add(life.mul_f64(self.origin.renewal_part()))
    }

    /// How long the renewal has been overdue; `None` if it is not, or no renewal is expected. A delay of a twentieth of the
    /// lifetime counts as in time; this tolerance is at least 2 s, and at most a minute for an agent, or an hour for files.
    #[must_use]
    pub fn overdue(&self, now: SystemTime) -> Option<Duration> {
        let published = self.published.as_ref()?;
        let life = published.not_after.duration_since(published.not_before).ok()?;
        let late = now.duration_since(self.renewal()?).ok()?;
        let longest =
            if self.origin.files().is_some() { LONGEST_DELAY_OF_FILES } else { LONGEST_DELAY };
        (late > (life / 20).clamp(SHORTEST_DELAY, longest)).then_some(late)
    }

    /// Why no newer identity is published, and the remedy.
    #[must_use]
    pub fn why_not_renewed(&self) -> Finding {
        let found = |code, text: &str, fix: &str| Finding::failure(code, text).fix(fix);
        if let Some(problem) = &self.problem {
            let remedy = self.remedy.clone().unwrap_or_else(|| {
                let fix = "see the findings of `pgsvid check` about the published directory";
                found(Code::PublishedNewest, problem, fix)
            });
            Finding { code: Code::PublishedNewest, text: problem.clone(), ..remedy }
        } else if let Some(files) = self.origin.files() {
            files.why_not_renewed()
        } else if self.withdrawn {
            let cause = "the agent has withdrawn the identity: its registration entry is gone";
            self.entry_again(found(Code::AgentNotRegistered, cause, ""))
        } else if let Some(reason) = &self.rejection {
            let text = format!("the agent's newest message is rejected: {reason}");
            found(Code::Svid, &text, "see the findings of `pgsvid check` about the agent's SVID")
        } else if self.connection == Connection::Streaming {
            let cause = "the agent is connected, but has sent no newer identity";
            let fix = "read the agent's log to find out why it does not renew, and check that its server runs and that the agent reaches it";
            found(Code::SvidLifetime, cause, fix)
        } else {
            let cause = format!("no newer identity has come from the agent ({})", self.agent);
            let fix = "check that the agent runs, is healthy, and has an entry for this workload";
            found(Code::SvidLifetime, &cause, fix)
        }
    }

    /// Adds the command that creates the registration entry of this workload again.
    fn entry_again(&self, found: Finding) -> Finding {
        let Some(published) = &self.published else { return found.fix(entries::SEVERAL_AGENTS) };
        let uid = rustix::process::geteuid().as_raw();
        let names = published.dns_names.iter().map(String::as_str);
        let (words, command) = entries::recreate_command(&published.spiffe_id, uid, names);
        found.fix(words).command_if_any(command)
    }

    /// Why readers do not find the newest identity, and the remedy; `None` if nothing is wrong. The text says what will happen,
    /// and when.
    #[must_use]
    pub fn delay(&self, now: SystemTime) -> Option<Finding> {
        let why = self.why_not_renewed();
        let Some(published) = &self.published else {
            let text = format!("no identity is published yet: {}", self.agent);
            return Some(Finding { code: Code::NothingPublished, text, ..why });
        };
        let cause = &why.text;
        let end = published.not_after;
        let left = timing::roughly(end.duration_since(now).unwrap_or_default());
        let cost = format!("the certificate expires in {left}");
        let (code, text) = if end <= now {
            let end = timing::utc(end);
            let text = format!("the published certificate has expired at {end}: {cause}");
            (Code::PublishedExpired, text)
        } else if let Some(problem) = &self.problem {
            (Code::PublishedNewest, problem.clone())
        } else if self.withdrawn {
            (Code::AgentNotRegistered, format!("{cause}; {cost}"))
        } else if let Some(late) = self.overdue(now) {
            let late = timing::roughly(late);
            (Code::SvidLifetime, format!("the renewal is overdue for {late}: {cause}; {cost}"))
        } else if self.rejection.is_some() {
            let trouble = self.origin.files().and_then(|files| files.trouble.as_ref());
            let code = trouble.map_or(Code::Svid, |trouble| trouble.code);
            (code, format!("{cause}; {cost}"))
        } else {
            return None;
        };
        Some(Finding { code, text, ..why })
    }

    /// Findings about the names that the published set lacks, and about names that have changed.
    #[must_use]
    pub fn names(&self, now: SystemTime) -> Vec<Finding> {
        self.naming.findings(now, self.origin.files().is_none())
    }

    /// The finding about the order of a change of the authorities. It is reported for a day at most: a leaf may live for a year, and
    /// other machines have the new authority by then.
    #[must_use]
    pub fn order(&self, now: SystemTime) -> Option<&Finding> {
        let (found, since) = self.order.as_ref()?;
        naming::is_reported(*since, now).then_some(found)
    }

    /// Whether a valid set is published.
    #[must_use]
    pub fn has_started(&self, now: SystemTime) -> bool {
        self.published.as_ref().is_some_and(|published| published.not_after > now)
    }
}

/// The connection to the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connection {
    /// Being opened, or opened and without an answer yet.
    #[default]
    Connecting,
    /// A message has arrived over it.
    Streaming,
    /// The agent answers, but this workload has no registration entry.
    NotRegistered,
    /// Lost or refused.
    Failed,
}

impl Connection {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Connecting, Self::Streaming, Self::NotRegistered, Self::Failed];

    /// Its name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::NotRegistered => "not-registered",
            Self::Failed => "failed",
        }
    }
}

/// The set on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Number of the publication in this process, from 1; 0 is a set that an earlier process left.
    pub generation: u64,
    /// Its SPIFFE ID; for a certificate without one, its DNS names or its subject.
    pub spiffe_id: String,
    /// The leaf's DNS names.
    pub dns_names: Vec<String>,
    /// The leaf's serial number, in full.
    pub serial: String,
    /// SHA-256 of the leaf.
    pub leaf: Fingerprint,
    /// SHA-256 of the set: see [`Material::fingerprint`].
    pub set: Fingerprint,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// When the chain expires.
    pub not_after: SystemTime,
    /// When the first of the published authorities expires that has not expired yet: SPIRE keeps expired ones in its bundle for a
    /// day. If all have expired, when the last one did.
    pub authorities_not_after: Option<SystemTime>,
}

fn first_to_expire(ends: impl Iterator<Item = SystemTime>) -> Option<SystemTime> {
    let now = timing::now();
    let (ahead, past): (Vec<_>, Vec<_>) = ends.partition(|end| *end > now);
    ahead.into_iter().min().or_else(|| past.into_iter().max())
}

impl Published {
    /// The facts about a published set, with the extra authorities that were published with it.
    #[must_use]
    pub fn of(material: &Material, extra_authorities: &[Certificate], generation: u64) -> Self {
        let authorities = material.authorities().chain(extra_authorities);
        Self {
            generation,
            spiffe_id: material.name().to_string(),
            dns_names: material.leaf().dns_names().to_vec(),
            serial: material.leaf().serial().to_string(),
            leaf: material.leaf().fingerprint(),
            set: material.fingerprint(extra_authorities),
            not_before: material.leaf().not_before(),
            not_after: material.not_after(),
            authorities_not_after: first_to_expire(authorities.map(Certificate::not_after)),
        }
    }
}
