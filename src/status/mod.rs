//! What is known now: the one picture that everything which reports is drawn from. Holds no key, and acts on nothing.

mod consumer;
mod history;
mod metrics;
mod process;
mod pulse;
mod readiness;
mod view;

use std::time::{Duration, SystemTime};

pub use consumer::{Consumer, Served, Sessions};
pub use history::{Attempt, History, Outcome, Step};
pub use metrics::{openmetrics, reference};
pub use pulse::Pulse;
pub use readiness::Readiness;
pub use view::{
    AgentView, AttemptView, ConsumerView, FindingView, PublishedView, ServedView, SessionsView,
    TargetView, Time, View,
};

use crate::material::{Certificate, Fingerprint, Material};

/// From when on a renewal is late, at least and at most.
const SHORTEST_DELAY: Duration = Duration::from_secs(2);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The daemon's state.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// When this process began.
    pub started: Option<SystemTime>,
    /// The set on disk.
    pub published: Option<Published>,
    /// The directory that it is in.
    pub directory: String,
    /// What keeps the newest identity from being published, in words.
    pub problem: Option<String>,
    /// Why readers do not find the published set under the published names, in words; `None` if they do.
    pub displaced: Option<String>,
    /// When the next try to publish is due, if it is being retried.
    pub retry: Option<SystemTime>,
    /// What reads the set; none where only files are published.
    pub consumers: Vec<Consumer>,
    /// Whether the agent has withdrawn the published identity.
    pub withdrawn: bool,
    /// What the agent last said that could not be used, or how the connection to it stands, in words.
    pub agent: String,
    /// Why its last message was rejected, in words; `None` if it was not.
    pub rejection: Option<String>,
    /// The connection to the agent.
    pub connection: Connection,
    /// How often it was made.
    pub connects: u64,
    /// Since when messages have come over it.
    pub connected: Option<SystemTime>,
    /// How many of its messages were rejected, by reason; each reason that there is.
    pub rejections: Vec<(&'static str, u64)>,
    /// What the attempts came to.
    pub history: History,
    /// Whether the loop turns.
    pub pulse: Pulse,
}

impl Status {
    /// Whether the database should be used.
    #[must_use]
    pub fn readiness(&self, now: SystemTime) -> Readiness {
        readiness::of(self, now)
    }

    /// When the agent should renew the published set, at half of its life; `None` if no renewal is to be expected.
    #[must_use]
    pub fn renewal(&self) -> Option<SystemTime> {
        let published = self.published.as_ref().filter(|_| !self.withdrawn)?;
        let life = published.not_after.duration_since(published.not_before).ok()?;
        published.not_before.checked_add(life / 2)
    }

    /// How long the renewal has been overdue; `None` if it is not, or none is to be expected. An agent takes a while, so
    /// a twentieth of the life, a minute at most, is no delay.
    #[must_use]
    pub fn overdue(&self, now: SystemTime) -> Option<Duration> {
        let published = self.published.as_ref()?;
        let life = published.not_after.duration_since(published.not_before).ok()?;
        let late = now.duration_since(self.renewal()?).ok()?;
        (late > (life / 20).clamp(SHORTEST_DELAY, LONGEST_DELAY)).then_some(late)
    }

    /// Why no newer identity has come: the cause, and what to do about it.
    #[must_use]
    pub fn why_not_renewed(&self) -> (String, &'static str) {
        if self.connection == Connection::Streaming && self.rejection.is_none() {
            let cause = "the agent is connected, and has sent no newer identity";
            let fix = "look at the agent's log for why it does not renew, and see that its server runs and that it reaches it";
            (cause.to_owned(), fix)
        } else {
            let cause = format!("no newer identity has come from the agent ({})", self.agent);
            (cause, "see that the agent runs, is healthy, and has an entry for this workload")
        }
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
    /// Being made, or made and without an answer yet.
    #[default]
    Connecting,
    /// A message has come over it.
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
    /// Which publication of this process, from 1; 0 is a set that an earlier one left.
    pub generation: u64,
    /// SPIFFE ID.
    pub spiffe_id: String,
    /// The leaf's serial number, in full.
    pub serial: String,
    /// SHA-256 of the leaf.
    pub leaf: Fingerprint,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// When the chain expires.
    pub not_after: SystemTime,
    /// When the first of the published authorities expires.
    pub authorities_not_after: Option<SystemTime>,
}

impl Published {
    /// The facts of a material that has been published, with the extra authorities that were published beside it.
    #[must_use]
    pub fn of(material: &Material, extra_authorities: &[Certificate], generation: u64) -> Self {
        let authorities = material.authorities().chain(extra_authorities);
        Self {
            generation,
            spiffe_id: material.spiffe_id().to_string(),
            serial: material.leaf().serial().to_string(),
            leaf: material.leaf().fingerprint(),
            not_before: material.leaf().not_before(),
            not_after: material.not_after(),
            authorities_not_after: authorities.map(Certificate::not_after).min(),
        }
    }
}
