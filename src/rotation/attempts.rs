//! The consumers, and their attempts: each is a task of its own, so that none waits for another.
//!
//! A consumer goes into its attempt, and comes back with what it has shown.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::barrier::Barrier;
use crate::consumers::{Attempt, Consumer, Publication};

/// All consumers.
pub(super) struct Attempts {
    places: Vec<Place>,
    running: JoinSet<Ended>,
    pub(super) barrier: Barrier,
}

/// One consumer's place in the loop.
struct Place {
    /// `None` while an attempt has it.
    consumer: Option<Consumer>,
    /// Asks its attempt to end at once.
    interrupt: CancellationToken,
    /// Since when the newest set has been on its way to it, until it is proven.
    begun: Option<Instant>,
    /// Others may have exchanged what it reads in its attempt.
    distrusted: bool,
    /// Its last attempt has shown the published set in force.
    settled: bool,
}

/// A consumer that comes back from its attempt.
pub(super) struct Ended {
    pub(super) at: usize,
    pub(super) consumer: Consumer,
    pub(super) publication: Publication,
    /// How long the publication took, if it was new.
    pub(super) took: Option<Duration>,
    pub(super) outcome: Outcome,
}

/// What comes of an attempt.
pub(super) enum Outcome {
    Shown(Box<Attempt>),
    /// What the consumer says of itself was asked for.
    Asked,
    Interrupted,
}

impl Attempts {
    pub(super) fn new(consumers: Vec<Consumer>) -> Self {
        let place = |consumer| Place {
            consumer: Some(consumer),
            interrupt: CancellationToken::new(),
            begun: None,
            distrusted: false,
            settled: false,
        };
        Self {
            places: consumers.into_iter().map(place).collect(),
            running: JoinSet::new(),
            barrier: Barrier::default(),
        }
    }

    /// Whether there is no consumer at all.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether an attempt runs.
    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Those that are in no attempt.
    pub(super) fn idle(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.places.iter_mut().filter_map(|place| place.consumer.as_mut())
    }

    /// Those of them whose next attempt is due, or that had none yet.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let is_due = |place: &Place| {
            let consumer = place.consumer.as_ref();
            consumer.is_some_and(|consumer| consumer.next().is_none_or(|next| next <= now))
        };
        (0..self.places.len()).filter(|at| is_due(&self.places[*at])).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.places.len()).collect()
    }

    /// Takes note of a consumer whose attempt has ended; returns whether the published set is in force at all of them.
    pub(super) fn note(&mut self, at: usize, consumer: &Consumer) -> bool {
        self.places[at].settled = consumer.is_settled();
        self.places.iter().all(|place| place.settled)
    }

    /// When the next attempt is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.places.iter().filter_map(|place| place.consumer.as_ref()?.next()).min()
    }

    /// A new set is published, which was begun then.
    pub(super) fn on_their_way(&mut self, begun: Instant) {
        for place in &mut self.places {
            place.begun = Some(begun);
            place.settled = false;
        }
    }

    /// How long the set was on its way to a consumer, once that is proven; for the first time only.
    pub(super) fn arrived(&mut self, at: usize) -> Option<Duration> {
        self.places[at].begun.take().map(|begun| begun.elapsed())
    }

    /// What they were last told to read may have been another's.
    pub(super) fn distrust(&mut self) {
        for place in &mut self.places {
            place.settled = false;
            match &mut place.consumer {
                Some(consumer) => consumer.distrust(),
                None => place.distrusted = true,
            }
        }
    }

    /// Whether others may have exchanged what was read in the attempt that has ended.
    pub(super) fn is_distrusted(&self, at: usize) -> bool {
        self.places[at].distrusted
    }

    /// Starts an attempt of each of these that is in none; `took` is how long the publication took, if it is new.
    pub(super) fn begin(
        &mut self,
        which: &[usize],
        publication: &Publication,
        took: Option<Duration>,
    ) {
        for at in which.iter().copied() {
            let Some(mut consumer) = self.places[at].consumer.take() else { continue };
            let publication = publication.clone();
            let interrupt = self.interruptible(at);
            self.running.spawn(async move {
                let outcome = tokio::select! {
                    attempt = consumer.attempt(&publication, took.is_some()) => {
                        Outcome::Shown(Box::new(attempt))
                    }
                    () = interrupt.cancelled() => Outcome::Interrupted,
                };
                Ended { at, consumer, publication, took, outcome }
            });
        }
    }

    /// Has a consumer asked what is new, over the session that its attempt has left.
    pub(super) fn ask(&mut self, mut ended: Ended, attempt: &mut Attempt) {
        let Some(unasked) = attempt.take_unasked() else { return self.put_back(ended) };
        let interrupt = self.interruptible(ended.at);
        self.running.spawn(async move {
            ended.outcome = tokio::select! {
                () = ended.consumer.ask(unasked) => Outcome::Asked,
                () = interrupt.cancelled() => Outcome::Interrupted,
            };
            ended
        });
    }

    fn interruptible(&mut self, at: usize) -> CancellationToken {
        self.barrier.begin(at, Instant::now());
        let interrupt = CancellationToken::new();
        self.places[at].interrupt = interrupt.clone();
        interrupt
    }

    /// The consumer is here again.
    pub(super) fn put_back(&mut self, Ended { at, mut consumer, .. }: Ended) {
        self.barrier.end(at);
        let place = &mut self.places[at];
        if std::mem::take(&mut place.distrusted) {
            consumer.distrust();
        }
        consumer.rest();
        place.consumer = Some(consumer);
    }

    /// Asks all attempts to end at once.
    pub(super) fn interrupt(&self) {
        for place in self.places.iter().filter(|place| place.consumer.is_none()) {
            place.interrupt.cancel();
        }
    }

    /// Waits for an attempt that ends, and for ever if none runs. May be cancelled without loss.
    pub(super) async fn ended(&mut self) -> Ended {
        std::future::poll_fn(|context| poll_ended(&mut self.running, context)).await
    }

    /// What there is to wait for: an attempt that ends, and, if they may be `tried`, a consumer that is worth another try.
    pub(super) fn watch(&mut self, tried: bool) -> (&mut JoinSet<Ended>, WorthATry<'_>) {
        let waiting = self.places.iter_mut().enumerate().filter(|_| tried);
        let waiting = waiting.filter_map(|(at, place)| {
            let consumer = place.consumer.as_mut()?;
            Some((at, Box::pin(consumer.worth_another_try()) as Waiting<'_>))
        });
        (&mut self.running, WorthATry(waiting.collect()))
    }
}

/// The consumers that wait for a change of their files.
pub(super) struct WorthATry<'a>(Vec<(usize, Waiting<'a>)>);

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl WorthATry<'_> {
    /// The first that is worth another try.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        for (at, waiting) in &mut self.0 {
            if waiting.as_mut().poll(context).is_ready() {
                return Poll::Ready(*at);
            }
        }
        Poll::Pending
    }
}

/// The next attempt that ends.
pub(super) fn poll_ended(running: &mut JoinSet<Ended>, context: &mut Context<'_>) -> Poll<Ended> {
    match running.poll_join_next(context) {
        Poll::Ready(Some(Ok(ended))) => Poll::Ready(ended),
        // None is ever aborted. The loop that has started it ends as it did.
        Poll::Ready(Some(Err(error))) => std::panic::resume_unwind(error.into_panic()),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}
