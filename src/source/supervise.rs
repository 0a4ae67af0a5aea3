//! The supervision of the stream: dial, read, judge, and dial again.

mod agent;
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
use retry::{Pace, Retry};

use super::allowance::Allowance;
use super::error::{Class, Error};
use super::lines::Lines;
use super::message::{Discarded, Judged};
use super::{Identity, Source, limits};
use crate::material::{CLOCK_SKEW, Fingerprint, Material, Rejection};
use crate::timing::{Clocks, Leap};

pub(super) async fn run(source: Source, stop: CancellationToken) -> Result<(), Error> {
    let allowance = Allowance::new();
    let endpoint = source.settings.endpoint.clone();
    let agent = Address::new(endpoint, &source.watching, allowance.clone());
    let clocks = Clocks::compared();
    if !clocks.told() {
        debug!("the kernel does not tell that the clock was set; the clocks are compared by time");
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
    /// By the agent, in order.
    Clean,
    /// By us: the agent has not renewed the identity for longer than that takes.
    Overdue,
    /// By us: what was rejected as not valid yet may be by now.
    Early,
    /// By us: there is another socket in the place of the one that was dialled.
    Replaced,
    /// By us: nobody knows what has become of the stream, and of the agent's renewals, meanwhile.
    Leapt(Leap),
    /// Otherwise.
    Failed(Error),
}

struct Supervisor<A> {
    source: Source,
    agent: A,
    /// What was said about the connection since it was last there: a repetition goes to the debug level. One fault
    /// may show itself in more than one way, in turns.
    said: Vec<String>,
    /// Whether it was said that a renewal is overdue, since another identity was accepted.
    overdue: bool,
    /// The federated bundles that were last said to be left out.
    left_out: String,
    /// The trust domain's own authorities that were.
    left_out_own: Vec<Fingerprint>,
    lines: Lines,
    /// The lines about accepted identities.
    identities: Lines,
    /// When the message that came before its time becomes acceptable.
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
            left_out: String::new(),
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
                    sleep(retry.another()).await;
                } => retry.anew(),
            }
        }
    }

    /// What the end of a stream means for the state and for the next try. Fails if there shall be none.
    fn conclude(&mut self, ended: Ended) -> Result<Pace, Error> {
        Ok(match ended {
            Ended::Clean => {
                debug!("the agent ended the stream; connecting again");
                Pace::Again
            }
            Ended::Overdue => {
                self.tell_overdue();
                self.renewal.begin_anew(self.current().as_deref(), self.clocks.now());
                Pace::AtOnce
            }
            Ended::Early => {
                debug!("asking again for the identity whose time had not come");
                self.renewal.begin_anew(self.current().as_deref(), self.clocks.now());
                Pace::AtOnce
            }
            Ended::Replaced => {
                self.tell_replaced();
                Pace::AtOnce
            }
            Ended::Leapt(by) => {
                info!(event = "clock-changed", %by, "the clock was set, or the machine has slept; connecting anew");
                self.renewal.begin_anew(self.current().as_deref(), self.clocks.now());
                Pace::AtOnce
            }
            Ended::Failed(error) => match error.class() {
                Class::Permanent if !self.source.persists => return Err(error),
                Class::Permanent => {
                    let pause = self.permanent();
                    self.refused(error, pause);
                    Pace::After(pause)
                }
                Class::NotRegistered => {
                    self.source.persist();
                    self.withdraw();
                    self.renewal.begin_anew(None, self.clocks.now());
                    Pace::Slowly
                }
                Class::Transient => {
                    self.fail(error);
                    Pace::Soon
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

    /// Reads a stream until it ends. `socket` is the one that was dialled; if there is another one in its place later, the
    /// stream is left, but not before `leave`.
    async fn read(
        &mut self,
        mut stream: A::Stream,
        first: Zeroizing<Vec<u8>>,
        socket: Option<SocketId>,
        leave: Instant,
    ) -> Ended {
        self.source.persist();
        self.connected();
        self.renewal.connected(self.current().as_deref(), self.clocks.now());
        // A leap before is no reason to leave what was dialled since.
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

    /// Takes a message, or the newest of those that are already readable: an agent may send two within a
    /// tenth of a millisecond. Returns how the stream has ended, if it has by then: that is said only once.
    async fn take(&mut self, message: Zeroizing<Vec<u8>>, stream: &mut A::Stream) -> Option<Ended> {
        let mut newest = message;
        // Lets the connection's task read what the kernel holds.
        tokio::task::yield_now().await;
        let ended = loop {
            match stream.next().now_or_never() {
                None => break None,
                Some(Ok(Some(newer))) => newest = newer,
                Some(Ok(None)) => break Some(Ended::Clean),
                Some(Err(error)) => break Some(Ended::Failed(error)),
            }
        };
        let Judged { material, left_out } = self.source.settings.judge(newest, self.clocks.now());
        self.early = match &material {
            Err(Discarded::Rejected(Rejection::NotYetValid(from))) => Some(*from - CLOCK_SKEW),
            _ => None,
        };
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

    /// Ends when the identity that came before its time may be asked for again: the agent does not send it twice.
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
        match &self.source.state.borrow().identity {
            Identity::Current(material) => Some(Arc::clone(material)),
            _ => None,
        }
    }

    /// How long an agent that calls the request invalid is left alone: what is published may expire meanwhile.
    fn permanent(&self) -> Duration {
        let left = self.current().map(|material| patience(material.not_after(), self.clocks.now()));
        left.map_or(limits::PERMANENT, |left| left.min(limits::PERMANENT))
    }
}

#[cfg(test)]
mod tests;
