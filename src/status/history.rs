//! The results of the attempts: counts, durations, and the latest ones individually.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::finding::Code;
use crate::verify::Verdict;

/// How many entries the history keeps.
const KEPT: usize = 50;
/// Upper bounds of the histograms' buckets, in seconds. A rotation takes about ten milliseconds.
pub(super) const BOUNDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The steps of a rotation, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The set is written and swapped.
    Publish,
    /// PostgreSQL is asked to read it.
    Reload,
    /// A handshake shows what PostgreSQL serves.
    Verify,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Reload, Self::Verify];

    /// Its name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Reload => "reload",
            Self::Verify => "verify",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing is left to do.
    Completed,
    /// Waiting is enough; it is retried.
    Pending,
    /// Something is wrong; it is retried, but somebody may have to fix it.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Pending, Self::Failed];

    /// Its name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }
}

/// One attempt, or several in a row with the same result.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The consumer; `None` for a publication.
    pub consumer: Option<String>,
    /// When it ended; for several, when the last one did.
    pub at: SystemTime,
    /// Number of the publication, from 1; 0 is a set that an earlier run left.
    pub generation: u64,
    /// Serial number of the leaf.
    pub serial: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The step with which it ended.
    pub step: Step,
    /// How many attempts in a row ended like this.
    pub tries: u64,
    /// The verdict of its verification, if there was one.
    pub verdict: Option<Verdict>,
    /// How long the publication took, if there was one.
    pub publish: Option<Duration>,
    /// How long the reload took, if there was one.
    pub reload: Option<Duration>,
    /// How long the verification took, if there was one.
    pub verify: Option<Duration>,
    /// The time from the start of the publication to its proof, including retries; `None` until it is proven.
    pub whole: Option<Duration>,
    /// Why it failed, in one sentence.
    pub problem: Option<String>,
    /// The codes of its findings.
    pub codes: Vec<Code>,
}

impl Attempt {
    fn resembles(&self, other: &Self) -> bool {
        let what =
            |attempt: &Self| (attempt.generation, attempt.outcome, attempt.step, attempt.verdict);
        what(self) == what(other) && self.consumer == other.consumer
    }
}

/// The results of one consumer's attempts.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivered {
    counts: BTreeMap<(Outcome, Step), u64>,
    pub(super) reload: Durations,
    pub(super) verify: Durations,
    pub(super) whole: Durations,
}

impl Delivered {
    /// How many attempts ended like this.
    pub(super) fn count(&self, outcome: Outcome, step: Step) -> u64 {
        self.counts.get(&(outcome, step)).copied().unwrap_or_default()
    }
}

/// The attempts of this process.
#[derive(Debug, Clone, Default)]
pub struct History {
    publish: Durations,
    published: BTreeMap<Outcome, u64>,
    /// The results for each consumer, by its name.
    delivered: BTreeMap<String, Delivered>,
    kept: VecDeque<Attempt>,
}

impl History {
    /// Counts a publication.
    pub fn published(&mut self, took: Duration) {
        *self.published.entry(Outcome::Completed).or_default() += 1;
        self.publish.observe(took);
    }

    /// Adds an attempt. If the previous one of its kind ended in the same way, it replaces that one, so that hours of retries
    /// do not displace older entries.
    pub fn add(&mut self, mut attempt: Attempt) {
        match &attempt.consumer {
            Some(consumer) => {
                let delivered = self.delivered.entry(consumer.clone()).or_default();
                *delivered.counts.entry((attempt.outcome, attempt.step)).or_default() += 1;
                attempt.reload.into_iter().for_each(|took| delivered.reload.observe(took));
                attempt.verify.into_iter().for_each(|took| delivered.verify.observe(took));
                attempt.whole.into_iter().for_each(|took| delivered.whole.observe(took));
            }
            None if attempt.outcome == Outcome::Failed => {
                *self.published.entry(Outcome::Failed).or_default() += 1;
            }
            // It was counted when it was published.
            None => {}
        }
        let same = self.kept.iter().rposition(|kept| kept.consumer == attempt.consumer);
        if let Some(last) = same.filter(|at| self.kept[*at].resembles(&attempt)) {
            attempt.tries += self.kept.remove(last).map_or(0, |last| last.tries);
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(attempt);
    }

    /// How many publications ended like this.
    #[must_use]
    pub fn publications(&self, outcome: Outcome) -> u64 {
        self.published.get(&outcome).copied().unwrap_or_default()
    }

    /// How many attempts of consumers ended like this, and how many publications. Completed publications count only while no
    /// consumer has had an attempt.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        let of = |delivered: &Delivered| {
            Step::ALL.iter().map(|step| delivered.count(outcome, *step)).sum::<u64>()
        };
        let delivered = self.delivered.values().map(of).sum::<u64>();
        match outcome {
            Outcome::Completed if !self.delivered.is_empty() => delivered,
            _ => delivered + self.publications(outcome),
        }
    }

    /// The median duration of the latest rotations, including retries; `None` before the first.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        let mut took: Vec<Duration> = self.kept.iter().filter_map(|kept| kept.whole).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }

    /// The latest attempts, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Attempt> {
        self.kept.iter().rev()
    }

    pub(super) fn publish(&self) -> &Durations {
        &self.publish
    }

    /// The results of a consumer's attempts.
    pub(super) fn of(&self, consumer: &str) -> Delivered {
        self.delivered.get(consumer).cloned().unwrap_or_default()
    }
}

/// A histogram of durations.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    /// One count for each of [`BOUNDS`], not cumulative, and one for longer durations.
    counts: [u64; BOUNDS.len() + 1],
    pub(super) sum: Duration,
}

impl Durations {
    pub(super) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket] += 1;
        self.sum += took;
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bound in seconds, and the number of durations between it and the bound before.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS.into_iter().chain([f64::MAX]).zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(generation: u64, outcome: Outcome) -> Attempt {
        Attempt {
            consumer: Some("main".to_owned()),
            at: SystemTime::UNIX_EPOCH,
            generation,
            serial: String::new(),
            outcome,
            step: Step::Verify,
            tries: 1,
            verdict: None,
            publish: Some(Duration::from_millis(2)),
            reload: None,
            verify: Some(Duration::from_secs(60)),
            whole: None,
            problem: None,
            codes: Vec::new(),
        }
    }

    #[test]
    fn retries_are_one_entry_and_the_last_fifty_stay() {
        let mut history = History::default();
        for _ in 0..1000 {
            history.add(attempt(1, Outcome::Failed));
        }
        let kept: Vec<_> = history.newest_first().collect();
        assert_eq!((kept.len(), kept[0].tries), (1, 1000));
        assert_eq!(history.of("main").count(Outcome::Failed, Step::Verify), 1000);
        assert_eq!(history.of("main").count(Outcome::Completed, Step::Verify), 0);
        for generation in 1..=60 {
            history.add(attempt(generation, Outcome::Completed));
        }
        let kept: Vec<_> = history.newest_first().map(|kept| kept.generation).collect();
        assert_eq!(kept, (11..=60).rev().collect::<Vec<_>>());
    }

    #[test]
    fn retries_of_two_consumers_in_turns_are_one_entry_each() {
        let mut history = History::default();
        for _ in 0..100 {
            for consumer in ["main", "other"] {
                let consumer = Some(consumer.to_owned());
                history.add(Attempt { consumer, ..attempt(1, Outcome::Failed) });
            }
        }
        let tries: Vec<_> = history.newest_first().map(|kept| kept.tries).collect();
        assert_eq!(tries, [100, 100]);
    }

    #[test]
    fn durations_fall_into_the_bucket_that_holds_them() {
        let mut history = History::default();
        history.add(attempt(1, Outcome::Completed));
        history.published(Duration::from_millis(2));
        let publish = history.publish();
        let filled = |durations: &Durations| {
            let buckets = durations.buckets().into_iter();
            buckets.filter(|(_, count)| *count > 0).map(|(bound, _)| bound).collect::<Vec<_>>()
        };
        assert_eq!((filled(publish), publish.count()), (vec![0.0025], 1));
        let delivered = history.of("main");
        assert_eq!(filled(&delivered.verify), [f64::MAX]);
        assert_eq!(delivered.reload.count(), 0);
    }

    #[test]
    fn the_median_is_of_rotations_that_came_to_their_end() {
        let mut history = History::default();
        history.add(attempt(1, Outcome::Failed));
        assert_eq!(history.median(), None);
        for (generation, took) in [(2, 9), (3, 7000), (4, 12)] {
            let whole = Some(Duration::from_millis(took));
            history.add(Attempt { whole, ..attempt(generation, Outcome::Completed) });
        }
        assert_eq!(history.median(), Some(Duration::from_millis(12)));
    }
}
