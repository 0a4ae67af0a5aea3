//! The consumers, and their attempts: each attempt is a task of its own, so that no consumer waits for another.
//!
//! A consumer is moved into its attempt, and comes back with the result.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::barrier::{Barrier, PATIENCE};
use crate::consumers::{Attempt, Consumer, HandOver, Proofs, Publication};
use crate::status;

/// All consumers.
pub(super) struct Attempts {
    slots: Vec<Slot>,
    running: JoinSet<Ended>,
    pub(super) barrier: Barrier,
    /// The set that each PostgreSQL is proven to serve.
    postgres_proven: watch::Sender<Option<u64>>,
    /// The set that each PostgreSQL and PgBouncer is proven to serve.
    servers_proven: watch::Sender<Option<u64>>,
    /// The set that was handed over to those who reload the instances of a `[[served]]`.
    handed_over: watch::Sender<Option<HandOver>>,
    /// Whether that happens by Kubernetes Secrets, and not by the publication itself.
    by_secrets: bool,
}

/// The slot of one consumer.
struct Slot {
    name: String,
    /// `None` while an attempt has it.
    consumer: Option<Consumer>,
    /// Asks its attempt to end at once.
    interrupt: CancellationToken,
    /// When the delivery of the newest set began; `None` once it is proven.
    begun: Option<Instant>,
    /// Whether others may have replaced what it reads in its attempt.
    distrusted: bool,
    /// Whether its last attempt has shown the published set in force.
    settled: bool,
    /// Whether its last attempt has proven that it serves the published set.
    proven: bool,
    kind: status::Kind,
    /// How long the next set waits for its attempts.
    patience: Duration,
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

/// The result of an attempt.
pub(super) enum Outcome {
    Shown(Box<Attempt>),
    /// The consumer's settings and counts were queried.
    Asked,
    Interrupted,
}

impl Attempts {
    pub(super) fn new(mut consumers: Vec<Consumer>) -> Self {
        let (postgres_proven, servers_proven) =
            (watch::Sender::new(None), watch::Sender::new(None));
        let handed_over = watch::Sender::new(None);
        let proofs = Proofs {
            postgres: postgres_proven.subscribe(),
            servers: servers_proven.subscribe(),
            handed_over: handed_over.subscribe(),
        };
        let by_secrets = consumers.iter().any(|it| it.kind() == status::Kind::Secrets);
        for consumer in &mut consumers {
            consumer.follow(&proofs);
        }
        let slot = |consumer: Consumer| Slot {
            name: consumer.name().to_owned(),
            kind: consumer.kind(),
            patience: consumer.patience().unwrap_or(PATIENCE),
            consumer: Some(consumer),
            interrupt: CancellationToken::new(),
            begun: None,
            distrusted: false,
            settled: false,
            proven: false,
        };
        Self {
            slots: consumers.into_iter().map(slot).collect(),
            running: JoinSet::new(),
            barrier: Barrier::default(),
            postgres_proven,
            servers_proven,
            handed_over,
            by_secrets,
        }
    }

    /// Whether there are no consumers.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether no consumer reads the published set: there are none, or only clients, Secrets and servers of others.
    pub(super) fn has_no_servers(&self) -> bool {
        self.servers().next().is_none()
    }

    /// All consumers that read the published set, and serve it.
    fn servers(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.kind.reads_the_set())
    }

    /// Whether an attempt runs.
    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// The names of the consumers that are in an attempt.
    pub(super) fn running(&self) -> String {
        let running = self.slots.iter().filter(|slot| slot.consumer.is_none());
        running.map(|slot| slot.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether one of them is a consumer for which the next set waits.
    pub(super) fn delays(&self) -> bool {
        self.slots.iter().any(|slot| slot.consumer.is_none() && !slot.patience.is_zero())
    }

    /// The names of all consumers that serve the published set.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.servers().map(|slot| slot.name.as_str())
    }

    /// The consumers that are in no attempt.
    pub(super) fn idle(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.slots.iter_mut().filter_map(|slot| slot.consumer.as_mut())
    }

    /// The indices of the idle consumers whose next attempt is due, or that have had none yet.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let is_due = |slot: &Slot| {
            let consumer = slot.consumer.as_ref();
            consumer.is_some_and(|consumer| consumer.next().is_none_or(|next| next <= now))
        };
        (0..self.slots.len()).filter(|at| is_due(&self.slots[*at])).collect()
    }

    /// The indices of all consumers.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.slots.len()).collect()
    }

    /// Records a consumer whose attempt has ended; returns whether the published set is in force at all that serve it.
    pub(super) fn note(&mut self, at: usize, consumer: &Consumer) -> bool {
        self.slots[at].settled = consumer.is_settled();
        self.servers().all(|slot| slot.settled)
    }

    /// Records whether a consumer is proven to serve the published set, which has this number, and tells the consumers that come
    /// last when those before them are; returns whether all are that serve it.
    pub(super) fn note_proof(&mut self, at: usize, proven: bool, generation: u64) -> bool {
        use status::Kind::{Client, Patroni, Pgbouncer, Postgres};
        self.slots[at].proven = proven;
        for (before, last) in [(&[Postgres][..], Patroni), (&[Postgres, Pgbouncer], Client)] {
            let mut slots = self.slots.iter().filter(|slot| before.contains(&slot.kind));
            let all = slots.all(|slot| slot.proven);
            let proven = all.then_some(generation);
            let told = if last == Client { &self.servers_proven } else { &self.postgres_proven };
            if told.send_replace(proven) != proven && all {
                self.idle().for_each(|consumer| consumer.proof_has_come(last));
            }
        }
        self.servers().all(|slot| slot.proven)
    }

    /// Records that each Kubernetes Secret holds the set with this number.
    pub(super) fn note_handed_over(&mut self, generation: u64, at: Instant) {
        let known = *self.handed_over.borrow();
        if !matches!(known, Some(HandOver::Own { generation: it, .. }) if it == generation) {
            self.handed_over.send_replace(Some(HandOver::Own { generation, at }));
        }
        if matches!(known, Some(HandOver::ByAnother(_))) {
            self.idle().for_each(Consumer::writer_has_changed);
        }
    }

    /// Records that another replica writes the Secrets: instances serve its set, and not the one of this process.
    pub(super) fn note_standby(&mut self, at: Instant) {
        let known = *self.handed_over.borrow();
        if !matches!(known, Some(HandOver::ByAnother(_))) {
            self.handed_over.send_replace(Some(HandOver::ByAnother(at)));
            self.idle().for_each(Consumer::writer_has_changed);
        }
    }

    /// Lets the consumers give up what other processes wait for.
    pub(super) async fn leave(&mut self) {
        for consumer in self.idle() {
            consumer.leave().await;
        }
    }

    /// When the next attempt is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.consumer.as_ref()?.next()).min()
    }

    /// Records that a new set with this number is published, and that its delivery began at `begun`.
    pub(super) fn delivery_begins(&mut self, begun: Instant, generation: u64) {
        self.postgres_proven.send_replace(None);
        self.servers_proven.send_replace(None);
        if !self.by_secrets {
            // Those who reload other servers find it in the directory.
            self.handed_over.send_replace(Some(HandOver::Own { generation, at: begun }));
        }
        for slot in &mut self.slots {
            slot.begun = Some(begun);
            slot.settled = false;
            slot.proven = false;
        }
    }

    /// How long the delivery to a consumer took; to be called once the delivery is proven. `None` after the first call.
    pub(super) fn arrived(&mut self, at: usize) -> Option<Duration> {
        self.slots[at].begun.take().map(|begun| begun.elapsed())
    }

    /// Records that others may have replaced the published files while consumers read them: the results of those attempts
    /// prove nothing.
    pub(super) fn distrust(&mut self) {
        self.postgres_proven.send_replace(None);
        self.servers_proven.send_replace(None);
        for slot in &mut self.slots {
            slot.settled = false;
            slot.proven = false;
            match &mut slot.consumer {
                Some(consumer) => consumer.distrust(),
                None => slot.distrusted = true,
            }
        }
    }

    /// Whether others may have replaced what was read in the attempt that has ended.
    pub(super) fn is_distrusted(&self, at: usize) -> bool {
        self.slots[at].distrusted
    }

    /// Starts an attempt for each of these consumers that is in none; `took` is the duration of the publication, if it is new.
    pub(super) fn begin(
        &mut self,
        which: &[usize],
        publication: &Publication,
        took: Option<Duration>,
    ) {
        for at in which.iter().copied() {
            let Some(mut consumer) = self.slots[at].consumer.take() else { continue };
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

    /// Lets a consumer query its settings and counts again, over the session that its attempt has left open.
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
        self.barrier.begin(at, Instant::now() + self.slots[at].patience);
        let interrupt = CancellationToken::new();
        self.slots[at].interrupt = interrupt.clone();
        interrupt
    }

    /// Takes a consumer back.
    pub(super) fn put_back(&mut self, Ended { at, mut consumer, .. }: Ended) {
        self.barrier.end(at);
        let slot = &mut self.slots[at];
        if std::mem::take(&mut slot.distrusted) {
            consumer.distrust();
        }
        consumer.rest();
        slot.consumer = Some(consumer);
    }

    /// Asks all attempts to end at once.
    pub(super) fn interrupt(&self) {
        for slot in self.slots.iter().filter(|slot| slot.consumer.is_none()) {
            slot.interrupt.cancel();
        }
    }

    /// Waits for an attempt to end, or forever if none runs. Safe to cancel.
    pub(super) async fn ended(&mut self) -> Ended {
        std::future::poll_fn(|context| poll_ended(&mut self.running, context)).await
    }

    /// What to wait for: an attempt that ends, and, if retries are allowed (`tried`), a consumer that is worth another try.
    pub(super) fn watch(&mut self, tried: bool) -> (&mut JoinSet<Ended>, WaitingConsumers<'_>) {
        let waiting = self.slots.iter_mut().enumerate().filter(|_| tried);
        let waiting = waiting.filter_map(|(at, slot)| {
            let consumer = slot.consumer.as_mut()?;
            Some((at, Box::pin(consumer.worth_another_try()) as Waiting<'_>))
        });
        (&mut self.running, WaitingConsumers(waiting.collect()))
    }
}

/// The consumers that wait for a change of their files.
pub(super) struct WaitingConsumers<'a>(Vec<(usize, Waiting<'a>)>);

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl WaitingConsumers<'_> {
    /// The index of the first consumer that is worth another try.
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
        // No attempt is ever aborted. If one panics, the loop that started it does, too.
        Poll::Ready(Some(Err(error))) => std::panic::resume_unwind(error.into_panic()),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v13_what_was_handed_over_is_taken_back_while_another_replica_writes_the_secrets() {
        let mut attempts = Attempts::new(Vec::new());
        let known = |attempts: &Attempts| *attempts.handed_over.borrow();
        let (first, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        attempts.note_handed_over(1, first);
        attempts.note_handed_over(1, later);
        assert_eq!(known(&attempts), Some(HandOver::Own { generation: 1, at: first }));
        attempts.note_standby(first);
        attempts.note_standby(later);
        assert_eq!(known(&attempts), Some(HandOver::ByAnother(first)));
        // The same set, written again, counts from now on.
        attempts.note_handed_over(1, later);
        assert_eq!(known(&attempts), Some(HandOver::Own { generation: 1, at: later }));
    }
}
