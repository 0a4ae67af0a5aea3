//! The Workload API: one supervised stream, and the identity that it last gave.
//!
//! [`Source::run`] publishes a [`SourceState`] whenever something changes. It holds the connection open for as
//! long as the process lives; the absence of an agent never ends it.

mod allowance;
mod authorities;
mod channel;
mod codec;
mod endpoint;
mod error;
mod fields;
mod foreign;
mod lines;
mod look;
mod message;
mod messages;
mod supervise;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use authorities::{ExtraAuthorities, UnreadableAuthorities};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::Error;
pub use lines::{Line, Lines};
pub use look::{Look, Offered, look};
pub use message::{Discarded, Selection};
pub use wire::{Message, Svid, Unreadable};

use crate::material::{Expectations, Material};
use crate::watching::Watching;

/// Where identities come from, and which one to take.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Workload API's address.
    pub endpoint: Endpoint,
    /// Which of several SVIDs to take.
    pub selection: Selection,
    /// What the chosen SVID must be.
    pub expectations: Expectations,
    /// Whether authorities of federated trust domains are wanted.
    pub federated_bundles: bool,
}

/// How the connection to the agent stands.
#[derive(Debug, Clone)]
pub enum Connection {
    /// Being made, or made and without an answer yet.
    Connecting,
    /// A message has come over it.
    Streaming,
    /// The agent answers, but this workload has no registration entry, or has no more.
    NotRegistered,
    /// Lost or refused.
    Failed(Arc<Error>),
}

/// What was last rejected, and why.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// When.
    pub at: SystemTime,
    /// The reason, in words.
    pub reason: String,
}

/// The identity, as far as it is known.
#[derive(Debug, Clone)]
pub enum Identity {
    /// None was received yet.
    Waiting,
    /// The agent's latest.
    Current(Arc<Material>),
    /// The agent has said that this workload is not entitled to it any more.
    Withdrawn(Arc<Material>),
}

impl Identity {
    /// The material, withdrawn or not.
    #[must_use]
    pub fn material(&self) -> Option<&Arc<Material>> {
        match self {
            Self::Waiting => None,
            Self::Current(material) | Self::Withdrawn(material) => Some(material),
        }
    }
}

/// Everything that is known of the agent.
#[derive(Debug, Clone)]
pub struct SourceState {
    /// The connection.
    pub connection: Connection,
    /// How often it was made.
    pub connects: u64,
    /// The last rejected message, until one is accepted.
    pub rejected: Option<Rejected>,
    /// How many messages were rejected.
    pub rejections: u64,
    /// The same by the kind of reason; each kind that there is.
    pub rejections_by_reason: Vec<(&'static str, u64)>,
    /// The identity.
    pub identity: Identity,
}

impl Default for SourceState {
    fn default() -> Self {
        Self {
            connection: Connection::Connecting,
            connects: 0,
            rejected: None,
            rejections: 0,
            rejections_by_reason: message::no_rejections(),
            identity: Identity::Waiting,
        }
    }
}

/// One phrase that says what is being waited for, for people.
impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rejected) = &self.rejected {
            return f.write_str(&rejected.reason);
        }
        match &self.connection {
            Connection::Connecting => f.write_str("no answer yet"),
            Connection::Streaming => f.write_str("connected"),
            Connection::NotRegistered => f.write_str("not registered yet"),
            Connection::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Time limits and intervals of the supervision.
mod limits {
    use super::Duration;

    /// From dialling to the first message.
    pub(super) const FIRST_MESSAGE: Duration = Duration::from_secs(9);
    /// First and longest back-off after a failure.
    pub(super) const BACKOFF: (Duration, Duration) =
        (Duration::from_millis(500), Duration::from_secs(15));
    /// The same after another socket was found, which cuts a pause short: an agent may make one for each connection.
    pub(super) const ANOTHER_SOCKET: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(15));
    /// How long a connection is kept at least though there is another socket in the place of its own: at first, and at most
    /// where an agent makes one for each connection.
    pub(super) const REPLACED: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(3600));
    /// How long a stream must have lasted for the back-off to begin anew after it.
    pub(super) const HELD: Duration = Duration::from_secs(1);
    /// If no other socket has come for so long since a connection could have been left for one, the next one is dialled soon
    /// again.
    pub(super) const CALM: Duration = Duration::from_secs(60);
    /// First and longest back-off while not registered. SPIRE's agents learn of an entry within 5 s.
    pub(super) const UNREGISTERED: (Duration, Duration) =
        (Duration::from_secs(2), Duration::from_secs(10));
    /// How often an agent that calls the request invalid is asked again, once it has served us before.
    pub(super) const PERMANENT: Duration = Duration::from_secs(300);
    /// Shortest and longest wait for an identity that is not valid yet. The longest is short because the clock
    /// that makes it so may be set at any time.
    pub(super) const EARLY: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(60));
    /// gRPC servers in Go punish pings that come more often than every five minutes.
    pub(super) const KEEPALIVE: Duration = Duration::from_secs(310);
    /// How long a ping may remain unanswered.
    pub(super) const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
    /// Part of the remaining life after which a silent agent is dialled anew; renewals come at a half.
    pub(super) const WATCHDOG_PART: f64 = 0.7;
    /// Shortest watchdog, so that the last seconds of a life are no tight loop.
    pub(super) const WATCHDOG_SHORTEST: Duration = Duration::from_secs(2);
    /// How many different faults of a connection are remembered as having been said.
    pub(super) const SAID: usize = 8;
    /// The watchdog once the identity has expired: the agent is dialled anew so often, though it holds the stream.
    pub(super) const WATCHDOG_EXPIRED: Duration = Duration::from_secs(60);
    /// Largest message in bytes. SPIRE sends the bundle with each SVID: twenty of them with 200,000 bytes each.
    pub(super) const MESSAGE: usize = 4 * 1024 * 1024;
    /// What HTTP/2 may hold of messages that were not read yet, in bytes: some hundred messages of the usual size.
    pub(super) const WINDOW: u32 = 512 * 1024;
    /// How many lines of the log an agent may cause at once, and how long it takes until it may cause another.
    pub(super) const LINES: (u32, Duration) = (40, Duration::from_secs(5));
    /// The same of lines about an accepted identity: each can lead to a rotation, and there are no more of these.
    pub(super) const IDENTITIES: (u32, Duration) = (120, Duration::from_secs(5));
}

/// The supervised client of one Workload API.
pub struct Source {
    settings: Settings,
    watching: Watching,
    state: watch::Sender<SourceState>,
    /// See [`Source::persist`].
    persists: bool,
}

impl Source {
    /// A source that has not begun, and the state that it will keep up to date.
    #[must_use]
    pub fn new(settings: Settings, watching: Watching) -> (Self, watch::Receiver<SourceState>) {
        let (state, receiver) = watch::channel(SourceState::default());
        (Self { settings, watching, state, persists: false }, receiver)
    }

    /// Lets a first request that the agent rejects be an alarm, and be repeated as slowly as a later one: an end would be a
    /// new process, and so the same request at once.
    pub fn persist(&mut self) {
        self.persists = true;
    }

    /// Keeps the stream open until `stop`.
    ///
    /// Fails only if the agent rejects the very first request that it answers as invalid or unimplemented, which the
    /// specification forbids to retry (Workload API section 4), and only where it was not told to persist.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        supervise::run(self, stop).await
    }
}
