//! The Workload API: one supervised stream, and the latest identity.
//!
//! [`Source::run`] publishes a [`SourceState`] whenever something changes. It keeps the connection open as long as the
//! process lives; a missing agent never ends it.

mod allowance;
mod call;
mod channel;
mod codec;
mod endpoint;
mod error;
mod fields;
mod foreign;
mod jwt;
mod jwt_wire;
mod look;
mod message;
mod messages;
mod selection;
mod socket_path;
mod state;
mod supervise;
mod wire;

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::Error;
pub use jwt::{JwtBundleStream, JwtBundles, JwtClient, JwtSvids};
pub use jwt_wire::JwtSvid;
pub use look::{Look, Offered, look};
pub use message::Discarded;
pub use selection::{Choice, Selection};
pub use socket_path::{Exchangeable, FIX as SOCKET_PATH_FIX, exchangeable};
pub use state::{AgentState, Connection};
pub use wire::{Message, Svid, Unreadable};

use super::{SourceDetails, SourceState};
use crate::material::Expectations;
use crate::watching::Watching;

/// Where identities come from, and which one to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Workload API's address.
    pub endpoint: Endpoint,
    /// Which of several SVIDs to use.
    pub selection: Selection,
    /// What the chosen SVID must be.
    pub expectations: Expectations,
    /// Whether authorities of federated trust domains are wanted.
    pub federated_bundles: bool,
}

/// Time limits and intervals of the supervision.
pub(in crate::source) mod limits {
    use super::Duration;

    /// From dialling to the first message.
    pub(super) const FIRST_MESSAGE: Duration = Duration::from_secs(9);
    /// First and longest back-off after a failure.
    pub(super) const BACKOFF: (Duration, Duration) =
        (Duration::from_millis(500), Duration::from_secs(15));
    /// The same after another socket appeared, which ends a pause early: an agent may create one for each connection.
    pub(super) const ANOTHER_SOCKET: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(15));
    /// How long a connection is kept at least although another socket has replaced its own: at first, and at most if an agent
    /// creates one for each connection.
    pub(super) const REPLACED: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(3600));
    /// How long a stream must have lasted for the back-off to start over after it.
    pub(super) const HELD: Duration = Duration::from_secs(1);
    /// A connection that lasts this much longer than it had to be kept shows that no other socket has appeared. After it a
    /// replaced socket is again followed as soon as at first ([`REPLACED`]).
    pub(super) const CALM: Duration = Duration::from_secs(60);
    /// First and longest back-off while not registered. SPIRE's agents learn of an entry within 5 s.
    pub(super) const UNREGISTERED: (Duration, Duration) =
        (Duration::from_secs(2), Duration::from_secs(10));
    /// How often an agent that rejects the request as invalid is asked again, if it has sent messages before.
    pub(super) const PERMANENT: Duration = Duration::from_secs(300);
    /// Shortest and longest wait for an identity that is not valid yet. The longest is short, because the clock may be
    /// corrected at any time.
    pub(super) const EARLY: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(60));
    /// gRPC servers in Go punish pings that come more often than every five minutes.
    pub(super) const KEEPALIVE: Duration = Duration::from_secs(310);
    /// How long a ping may remain unanswered.
    pub(super) const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
    /// Share of the remaining lifetime after which a silent agent is dialled again; renewals come at half of it.
    pub(super) const WATCHDOG_PART: f64 = 0.7;
    /// Shortest watchdog, so that the last seconds of a lifetime are not a tight loop.
    pub(super) const WATCHDOG_SHORTEST: Duration = Duration::from_secs(2);
    /// How many different faults of a connection are stored as already reported.
    pub(super) const SAID: usize = 8;
    /// The watchdog's interval once the identity has expired: the agent is dialled again this often, even if it holds the
    /// stream.
    pub(super) const WATCHDOG_EXPIRED: Duration = Duration::from_secs(60);
    /// Largest message in bytes. SPIRE sends the bundle with each SVID: twenty of them with 200,000 bytes each.
    pub(super) const MESSAGE: usize = 4 * 1024 * 1024;
    /// How many bytes of unread messages HTTP/2 may buffer: some hundred messages of the usual size.
    pub(super) const WINDOW: u32 = 512 * 1024;
    /// How many lines of the log an agent may cause at once, and the time after which it may cause another.
    pub(in crate::source) const LINES: (u32, Duration) = (40, Duration::from_secs(5));
    /// The same for lines about an accepted identity: each can lead to a rotation, and this limits their number as well.
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
    /// A source that has not started, and the state that it will update.
    #[must_use]
    pub fn new(settings: Settings, watching: Watching) -> (Self, watch::Receiver<SourceState>) {
        let standing = SourceDetails::Agent(AgentState::default());
        let (state, receiver) = watch::channel(SourceState::new(standing));
        (Self { settings, watching, state, persists: false }, receiver)
    }

    /// Makes [`Source::run`] report and retry, slowly, if the agent rejects the first request, instead of failing: a failure
    /// would lead to a new process, and so to the same request at once.
    pub fn persist(&mut self) {
        self.persists = true;
    }

    /// Keeps the stream open until `stop`.
    ///
    /// Fails only without [`Source::persist`], in two cases: the path of the socket is too long ([`Error::PathTooLong`]), or
    /// the first answer of the agent is that the request is invalid or unimplemented, which the specification forbids to
    /// retry (Workload API section 4).
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        supervise::run(self, stop).await
    }
}
