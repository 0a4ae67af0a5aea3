//! When a hook is due. Pure: events and the time are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::{End, Hook, When};
use crate::timing::Backoff;

/// First and longest back-off after a failure.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Shortest time from the beginning of a run to that of the next. It is twice the time within which the parent refuses
/// another run, so that the parent does not refuse ours.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);
/// How long the answer may take beyond the time-out.
const ANSWER: Duration = Duration::from_secs(10);

/// The state of one hook: which sets it has to follow, and its run.
#[derive(Debug)]
pub struct Course {
    when: When,
    timeout: Duration,
    /// The newest set that is published.
    newest: Option<u64>,
    /// The newest set that is proven to be served.
    proven: Option<u64>,
    /// Whether the newest set needs a run: none has begun since it was published or distrusted, or the last one has failed.
    owed: bool,
    running: Option<Run>,
    /// The earliest beginning of the next run: [`SHORTEST`] after the beginning of the last one.
    floor: Option<Instant>,
    /// When a run that has failed is tried again.
    retry: Option<Instant>,
    backoff: Backoff,
    /// The failure that was last reported since the last success.
    reported: Option<End>,
}

/// A run that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Which one, for the answer.
    pub token: u32,
    /// Which set it follows.
    pub generation: u64,
    /// By when there has to be an answer.
    pub deadline: Instant,
}

impl Course {
    /// A hook that was not run yet.
    #[must_use]
    pub fn new(hook: &Hook) -> Self {
        Self {
            when: hook.when,
            timeout: hook.timeout,
            newest: None,
            proven: None,
            owed: false,
            running: None,
            floor: None,
            retry: None,
            backoff: Backoff::new(AGAIN.0, AGAIN.1),
            reported: None,
        }
    }

    /// A set is published. The same set a second time makes no run due.
    pub fn published(&mut self, generation: u64) {
        if self.newest.replace(generation) != Some(generation) {
            self.due_again();
        }
    }

    /// Readers may have found other files than the published set, so the runs for that set no longer count.
    pub fn distrust(&mut self) {
        self.proven = None;
        if self.newest.is_some() {
            self.due_again();
        }
    }

    fn due_again(&mut self) {
        self.owed = true;
        // A new set replaces the retries of the one before.
        self.retry = None;
        self.backoff.reset();
    }

    /// Withdraws the proof: it is not certain any more that every server serves the newest set.
    pub fn withdraw_proof(&mut self) {
        self.proven = None;
    }

    /// Every server is proven to serve this set.
    pub fn proven(&mut self, generation: u64) {
        self.proven = Some(generation);
    }

    /// The run that begins now, if one is due. `token` is its own.
    pub fn begin(&mut self, token: u32, now: Instant) -> Option<Run> {
        let generation = self.eligible().filter(|_| self.next(now) <= now)?;
        let run = Run { token, generation, deadline: now + self.timeout + ANSWER };
        self.running = Some(run);
        self.owed = false;
        self.floor = Some(now + SHORTEST);
        self.retry = None;
        Some(run)
    }

    /// When the next run may begin.
    fn next(&self, now: Instant) -> Instant {
        self.floor.max(self.retry).unwrap_or(now)
    }

    /// The set that a run would follow, if one is owed and may begin as soon as its time has come.
    fn eligible(&self) -> Option<u64> {
        let newest = self.newest.filter(|_| self.owed && self.running.is_none())?;
        let may = self.when != When::Proven || self.proven == Some(newest);
        may.then_some(newest)
    }

    /// When to call again if no event comes before: the deadline of the run, or the beginning of the next one. A moment in
    /// the past means at once; `None` means that only an event can change anything.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        match self.running {
            Some(run) => Some(run.deadline),
            None => self.eligible().map(|_| self.next(now)),
        }
    }

    /// The run that should have had an answer by now.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<Run> {
        self.running.filter(|run| run.deadline <= now)
    }

    /// Records that a run has ended. Returns the run, the delay before the next try if it has failed, and whether the end is
    /// worth a report. `None` if no run with this token is awaited.
    pub fn ended(
        &mut self,
        token: u32,
        end: End,
        now: Instant,
    ) -> Option<(Run, Option<Duration>, bool)> {
        let run = self.running.take_if(|run| run.token == token)?;
        if end.is_success() {
            self.backoff.reset();
            self.reported = None;
            return Some((run, None, true));
        }
        self.owed = true;
        let delay = self.backoff.delay();
        self.retry = Some(now + delay);
        let is_news = self.reported.replace(end) != Some(end);
        Some((run, Some(delay), is_news))
    }

    /// Whether a run has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the newest set is still to be followed by a run, or by the end of one.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.owed || self.running.is_some()
    }

    /// Whether the hook only waits for the proof that every server serves the set.
    #[must_use]
    pub fn waits_for_proof(&self) -> bool {
        self.owed && self.running.is_none() && self.eligible().is_none()
    }
}

#[cfg(test)]
mod tests;
