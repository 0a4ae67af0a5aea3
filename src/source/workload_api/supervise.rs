//! Supervises the stream: connects, reads, judges, and connects again.

mod agent;
mod names;
mod outcome;
mod renewal;
mod retry;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use zeroize::Zeroizing;

use agent::{Address, Agent, SocketId, Stream};
use renewal::{Renewal, patience};
use retry::{Reconnect, Retry};

use super::allowance::Allowance;
use super::error::{Class, Error};
use super::message::{Discarded, Judged, LeftOut};
use super::{Exchangeable, Source, limits};
use crate::material::{CLOCK_SKEW, Fingerprint, Material, Rejection};
use crate::source::lines::Lines;
use crate::timing::{Clocks, Leap};

pub(super) async fn run(source: Source, stop: CancellationToken) -> Result<(), Error> {
    let allowance = Allowance::new();
    let endpoint = source.settings.endpoint.clone();
    let agent = Address::new(endpoint, &source.watching, allowance.clone());
    let clocks = Clocks::compared();
    if !clocks.are_reported() {
        debug!(
            "the kernel does not report when the clock is set; the clocks are compared at intervals"
        );
    }
    let mut supervisor = Supervisor::new(source, agent, clocks);
    let supervision = std::pin::pin!(supervisor.supervise());
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = allowance.counted(supervision) => ended,
    }
}

/// How a stream ended.
enum Ended {
    /// The agent ended it normally.
    Clean,
    /// pgsvid ended it: the agent has not renewed the identity in time.
    Overdue,
    /// pgsvid ended it: an identity that was rejected as not valid yet may be valid now.
    Early,
    /// pgsvid ended it: another socket has replaced the one that pgsvid is connected to.
    Replaced,
    /// pgsvid ended it, because the clock was set, or the machine has slept: the state of the stream, and of renewals, is
    /// unknown.
    Leapt(Leap),
    /// It failed.
    Failed(Error),
}

struct Supervisor<A> {
    source: Source,
    agent: A,
    /// The faults of the connection that were reported since it was last open: repetitions go to the debug level. One fault
    /// may appear in several forms, alternately.
    said: Vec<String>,
    /// Whether an overdue renewal was reported since the last accepted identity.
    overdue: bool,
    /// The federated bundles that were last reported as left out.
    left_out: LeftOut,
    /// The choice between SVIDs that was last reported.
    choice: String,
    /// What was last reported of the path to the agent's socket.
    exchangeable: Option<Exchangeable>,
    /// The configured names that were last reported as missing from the SVID.
    lacking: Vec<String>,
    /// The trust domain's own authorities that were last reported as left out.
    left_out_own: Vec<Fingerprint>,
    lines: Lines,
    /// The budget for lines about accepted identities.
    identities: Lines,
    /// When the identity that is not valid yet becomes valid.
    early: Option<SystemTime>,
    renewal: Renewal,
    clocks: Clocks,
}

impl<A: Agent> Supervisor<A> {
    fn new(source: Source, agent: A, clocks: Clocks) -> Self {
        Self {
            source,
            agent,
            said: Vec::new(),
            overdue: false,
            left_out: LeftOut::default(),
            choice: String::new(),
            exchangeable: None,
            lacking: Vec::new(),
            left_out_own: Vec::new(),
            lines: Lines::new(limits::LINES),
            identities: Lines::new(limits::IDENTITIES),
            early: None,
            renewal: Renewal::default(),
            clocks,
        }
    }

    async fn supervise(&mut self) -> Result<(), Error> {
        let mut retry = Retry::new();
        loop {
            let socket = self.agent.ready().await;
            let (ended, lasted) = match self.dial().await {
                Ok((stream, first)) => {
                    let begun = Instant::now();
                    let ended = self.read(stream, first, socket, begun + retry.keep()).await;
                    (ended, begun.elapsed())
                }
                Err(error) => (Ended::Failed(error), Duration::ZERO),
            };
            retry.ended(lasted);
            if matches!(ended, Ended::Replaced) {
                retry.replaced();
            }
            let pause = retry.pause(self.conclude(ended)?);
            tokio::select! {
                () = sleep(pause) => {}
                () = async {
                    self.agent.another(socket).await;
                    sleep(retry.pause_before_other_socket()).await;
                } => retry.dials_other_socket(),
            }
        }
    }

    /// What the end of a stream means for the state and for the retry. Fails if there must be no retry.
    fn conclude(&mut self, ended: Ended) -> Result<Reconnect, Error> {
        Ok(match ended {
            Ended::Clean => {
                debug!("the agent ended the stream; reconnecting");
                Reconnect::Again
            }
            Ended::Overdue => {
                self.tell_overdue();
                self.renewal.begin_again(self.current().as_deref(), self.clocks.now());
                Reconnect::AtOnce
            }
            Ended::Early => {
                debug!("asking again for the identity that was not valid yet");
                self.renewal.begin_again(self.current().as_deref(), self.clocks.now());
                Reconnect::AtOnce
            }
            Ended::Replaced => {
                self.tell_replaced();
                Reconnect::AtOnce
            }
            Ended::Leapt(by) => {
                info!(event = "clock-changed", %by, "the clock was set, or the machine has slept; reconnecting");
                self.renewal.begin_again(self.current().as_deref(), self.clocks.now());
                Reconnect::AtOnce
            }
            Ended::Failed(error) => match error.class() {
                Class::Permanent if !self.source.persists => return Err(error),
                Class::Permanent => {
                    let pause = self.permanent();
                    self.refused(error, pause);
                    Reconnect::After(pause)
                }
                Class::NotRegistered => {
                    self.source.persist();
                    self.withdraw();
                    self.renewal.begin_again(None, self.clocks.now());
                    Reconnect::Slowly
                }
                Class::Transient => {
                    self.fail(error);
                    Reconnect::Soon
                }
            },
        })
    }

    /// Opens a stream, and waits for its first message.
    async fn dial(&self) -> Result<(A::Stream, Zeroizing<Vec<u8>>), Error> {
        let opened = timeout(limits::FIRST_MESSAGE, self.agent.dial()).await;
        let (stream, first) = opened.map_err(|_| Error::Silent(limits::FIRST_MESSAGE))??;
        Ok((stream, first.ok_or(Error::Empty)?))
    }

    /// Reads a stream until it ends. `socket` is the one that it uses. If another one replaces it, the stream is closed,
    /// but not before `leave`.
    async fn read(
        &mut self,
        mut stream: A::Stream,
        first: Zeroizing<Vec<u8>>,
        socket: Option<SocketId>,
        leave: Instant,
    ) -> Ended {
        self.source.persist();
        self.connected();
        self.tell_exchangeable();
        self.renewal.connected(self.current().as_deref(), self.clocks.now());
        // A clock change before this connection was opened does not close it.
        self.clocks.restart();
        if let Some(ended) = self.take(first, &mut stream).await {
            return ended;
        }
        loop {
            let (overdue, early) = (self.renewal.overdue(), self.early());
            let message = tokio::select! {
                message = stream.next() => message,
                () = overdue => return Ended::Overdue,
                () = early => return Ended::Early,
                () = async {
                    sleep_until(leave).await;
                    self.agent.another(socket).await;
                } => return Ended::Replaced,
                leap = self.clocks.leap() => return Ended::Leapt(leap),
            };
            let ended = match message {
                Ok(Some(message)) => self.take(message, &mut stream).await,
                Ok(None) => Some(Ended::Clean),
                Err(error) => Some(Ended::Failed(error)),
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Handles a message, or the newest of those that can be read already: an agent may send two within a tenth of a
    /// millisecond. Returns how the stream has ended, if it has, because the stream reports that only once.
    async fn take(&mut self, message: Zeroizing<Vec<u8>>, stream: &mut A::Stream) -> Option<Ended> {
        let mut newest = message;
        // Lets the connection's task read what the kernel has buffered.
        tokio::task::yield_now().await;
        let ended = loop {
            match stream.next().now_or_never() {
                None => break None,
                Some(Ok(Some(newer))) => newest = newer,
                Some(Ok(None)) => break Some(Ended::Clean),
                Some(Err(error)) => break Some(Ended::Failed(error)),
            }
        };
        let Judged { mut material, left_out, choice } =
            self.source.settings.judge(newest, self.clocks.now());
        self.early = match &material {
            Err(Discarded::Rejected(Rejection::NotYetValid(from))) => Some(*from - CLOCK_SKEW),
            Ok(found) => self.better_later(found),
            Err(_) => None,
        };
        if let (Ok(_), Some(from)) = (&material, self.early) {
            material = Err(Rejection::NotYetValid(from).into());
        }
        if material.is_ok() && choice.is_none() {
            self.choice.clear();
        }
        self.tell_choice(choice);
        if material.is_ok() {
            self.leave_out(left_out);
        }
        match material {
            Ok(material) => {
                self.renewal.accepted(&material, self.clocks.now());
                self.accept(material);
            }
            Err(reason) => self.reject(reason.reason(), &reason.to_string()),
        }
        ended
    }

    fn has_identity(&self) -> bool {
        self.source.state.borrow().identity.material().is_some()
    }

    /// When an identity may replace the current one, if that is later than now. OpenSSL, which has this machine's clock,
    /// would refuse it until then, and the current one is still good.
    fn better_later(&self, offered: &Material) -> Option<SystemTime> {
        let now = self.clocks.now();
        let current = self.current()?;
        let is_good = current.not_before() <= now && !current.is_expired(now);
        (is_good && offered.not_before() > now && !current.publishes_as(offered))
            .then(|| offered.not_before())
    }

    /// Ends when the identity that was not valid yet may be requested again: the agent does not send it twice.
    fn early(&self) -> impl Future<Output = ()> + use<A> {
        let (shortest, longest) = limits::EARLY;
        let pause = self.early.map(|from| {
            from.duration_since(self.clocks.now()).unwrap_or_default().clamp(shortest, longest)
        });
        async move {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The identity, unless it was withdrawn.
    fn current(&self) -> Option<Arc<Material>> {
        self.source.state.borrow().identity.current().cloned()
    }

    /// How long to wait for an agent that rejects the request: what is published may expire in the meantime.
    fn permanent(&self) -> Duration {
        let left = self.current().map(|material| patience(material.not_after(), self.clocks.now()));
        left.map_or(limits::PERMANENT, |left| left.min(limits::PERMANENT))
    }
}

#[cfg(test)]
mod tests;
