//! Deliveries and the barrier between two swaps, together, in random schedules.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::barrier::{Barrier, PATIENCE};
use crate::consumers::delivery::{Asked, Delivery, Obstacle, Shown};
use crate::verify::Verdict;

const EVERY: Duration = Duration::from_secs(300);

/// An event around the loop.
#[derive(Debug, Clone)]
enum Event {
    /// Another set is wanted. Sets may look alike to a probe.
    Wanted { features: u8 },
    /// How long a consumer's attempts take from now on, in milliseconds.
    Takes(usize, u32),
    /// Whether a consumer can be asked to reload.
    Asked(usize, bool),
    /// Milliseconds pass.
    Wait(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4u8).prop_map(|features| Event::Wanted { features }),
        2 => (0..3usize, prop_oneof![0..50u32, 0..60_000u32]).prop_map(|(at, ms)| Event::Takes(at, ms)),
        2 => (0..3usize, any::<bool>()).prop_map(|(at, may)| Event::Asked(at, may)),
        3 => (1..5_000u32).prop_map(Event::Wait),
        1 => (1..700_000u32).prop_map(Event::Wait),
    ]
}

/// A set: the number of its publication, and what a check shows of it.
type Set = (u32, u32);

struct Consumer {
    delivery: Delivery<u32>,
    takes: Duration,
    may_be_asked: bool,
    /// The set that it has read.
    read: Option<Set>,
    /// When its attempt began and will end, and whether it was asked to reload in it.
    attempt: Option<(Instant, Instant, Asked)>,
}

/// The loop: a swap when the barrier is open, and an attempt of each consumer when it is due.
struct Model {
    now: Instant,
    barrier: Barrier,
    consumers: Vec<Consumer>,
    published: Option<Set>,
    wanted: Option<Set>,
    swaps: u32,
}

impl Model {
    fn new(consumers: usize) -> Self {
        let consumer = || Consumer {
            delivery: Delivery::new(EVERY, false),
            takes: Duration::ZERO,
            may_be_asked: true,
            read: None,
            attempt: None,
        };
        Self {
            now: Instant::now(),
            barrier: Barrier::default(),
            consumers: std::iter::repeat_with(consumer).take(consumers).collect(),
            published: None,
            wanted: None,
            swaps: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Wanted { features } => {
                self.wanted = Some((self.swaps + 1, features.into()));
                self.work();
            }
            Event::Takes(at, milliseconds) => {
                if let Some(consumer) = self.consumers.get_mut(at) {
                    consumer.takes = Duration::from_millis(milliseconds.into());
                }
            }
            Event::Asked(at, may) => {
                if let Some(consumer) = self.consumers.get_mut(at) {
                    consumer.may_be_asked = may;
                }
            }
            Event::Wait(milliseconds) => self.pass(Duration::from_millis(milliseconds.into())),
        }
    }

    /// When something happens without an event.
    fn next(&self) -> Option<Instant> {
        let ends = self.consumers.iter().filter_map(|it| it.attempt.map(|(_, ends, _)| ends));
        let idle = self.consumers.iter().filter(|it| it.attempt.is_none());
        let due = idle.filter_map(|it| it.delivery.next());
        let opens = self.barrier.opens().filter(|_| self.wanted.is_some());
        ends.chain(due).chain(opens).min()
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.work();
            steps += 1;
            assert!(steps < 100_000, "it comes to rest");
        }
        self.now = until;
    }

    /// Does everything that is due now.
    fn work(&mut self) {
        for at in 0..self.consumers.len() {
            if self.consumers[at].attempt.is_some_and(|(_, ends, _)| ends <= self.now) {
                self.end(at);
            }
        }
        if self.barrier.is_open(self.now)
            && let Some(wanted) = self.wanted.take()
        {
            self.swap(wanted);
        }
        for at in 0..self.consumers.len() {
            let consumer = &self.consumers[at];
            if consumer.attempt.is_none()
                && consumer.delivery.next().is_some_and(|next| next <= self.now)
            {
                self.begin(at, false);
            }
        }
    }

    fn swap(&mut self, wanted: Set) {
        for at in 0..self.consumers.len() {
            if let Some((begun, _, _)) = self.consumers[at].attempt.take() {
                assert!(
                    self.now >= begun + PATIENCE,
                    "a swap while a consumer loads the set before"
                );
                self.barrier.end(at);
                self.consumers[at].delivery.hurry(self.now);
            }
        }
        self.published = Some(wanted);
        self.swaps += 1;
        for at in 0..self.consumers.len() {
            self.begin(at, true);
        }
    }

    fn begin(&mut self, at: usize, is_new: bool) {
        let Some((number, features)) = self.published else { return };
        let consumer = &mut self.consumers[at];
        consumer.delivery.begin(&features, is_new);
        let routine = consumer.delivery.is_at_rest();
        let asked = if routine || consumer.may_be_asked { Asked::Yes } else { Asked::NotYet };
        if !routine && asked == Asked::Yes && consumer.delivery.should_reload(false, self.now) {
            consumer.delivery.reloaded(self.now);
            consumer.read = Some((number, features));
        }
        consumer.attempt = Some((self.now, self.now + consumer.takes, asked));
        self.barrier.begin(at, self.now + PATIENCE);
    }

    fn end(&mut self, at: usize) {
        let Some((number, features)) = self.published else { return };
        let now = self.now;
        let consumer = &mut self.consumers[at];
        let Some((_, _, asked)) = consumer.attempt.take() else { return };
        self.barrier.end(at);
        let serves = consumer.read.map(|(_, features)| features);
        let verdict = if serves == Some(features) { Verdict::Current } else { Verdict::StillOld };
        let shown = Shown { verdict, asked };
        if consumer.delivery.is_done(shown) {
            consumer.delivery.settle(shown, true, now);
            assert_eq!(consumer.read, Some((number, features)), "in force is what is published");
        } else {
            let obstacle = Obstacle { key: String::new(), slow: false, alarm: false };
            consumer.delivery.retry(verdict, obstacle, now);
        }
    }

    fn is_in_force(&self) -> bool {
        self.consumers.iter().all(|it| it.delivery.is_settled() && it.read == self.published)
    }
}

proptest! {
    // `PROPTEST_CASES=1000000 cargo test --release --lib random_schedules` runs a million schedules.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_random_schedules_no_set_is_swapped_beneath_a_consumer_and_the_last_comes_into_force(
        consumers in 1..4usize,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut model = Model::new(consumers);
        model.happen(&Event::Wanted { features: 0 });
        for event in &events {
            model.happen(event);
        }
        let wanted = model.wanted.or(model.published);
        for consumer in &mut model.consumers {
            consumer.may_be_asked = true;
            consumer.takes = Duration::ZERO;
        }
        // Only a newer set interrupts an attempt that hangs: this one takes a minute at most.
        model.pass(Duration::from_secs(120));
        prop_assert!(model.wanted.is_none());
        prop_assert_eq!(model.published, wanted);
        prop_assert!(model.is_in_force());
        let swaps = model.swaps;
        model.pass(EVERY * 4);
        prop_assert_eq!(model.swaps, swaps);
        prop_assert!(model.is_in_force());
    }
}
