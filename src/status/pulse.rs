//! The loop's sign of life: each step announces by when it will end. `/livez` fails once a step has missed that deadline by
//! 60 seconds.
//!
//! The duration of a whole rotation shows nothing: with a slow server or a slow disk it may rightly take minutes, and a loop
//! that has missed its own timer is in no rotation at all. So every single step has its limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How late the loop may be: a busy machine delays every process.
const LATE: Duration = Duration::from_secs(60);

/// Shared by the loop, its consumers, and the code that answers `/livez`. Announcing a step wakes nobody.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    promises: Arc<Mutex<BTreeMap<usize, Promise>>>,
    /// The number of the announcement that this pulse writes.
    of: usize,
}

#[derive(Debug, Clone, Copy)]
struct Promise {
    by: Instant,
    what: &'static str,
}

impl Pulse {
    /// A pulse for a task that works beside the loop, with its own announcements.
    #[must_use]
    pub fn beside(&self, number: usize) -> Self {
        Self { promises: Arc::clone(&self.promises), of: number + 1 }
    }

    /// Announces a step that takes no longer than `limit`.
    pub fn step(&self, what: &'static str, limit: Duration) {
        self.note(Some(Promise { by: Instant::now() + limit, what }));
    }

    /// Announces that nothing is to be done before this time; `None` means that there is no deadline.
    pub fn rest(&self, until: Option<Instant>) {
        self.note(until.map(|by| Promise { by, what: "waiting for its next check" }));
    }

    /// The step that has missed its deadline, if one has.
    #[must_use]
    pub fn stuck_at(&self) -> Option<&'static str> {
        let promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        let mut late = promises.values().filter(|promise| promise.by + LATE < Instant::now());
        late.next().map(|promise| promise.what)
    }

    fn note(&self, promise: Option<Promise>) {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        match promise {
            Some(promise) => drop(promises.insert(self.of, promise)),
            None => drop(promises.remove(&self.of)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_promise_that_is_not_kept_is_noticed_and_one_that_is_renewed_is_not() {
        let pulse = Pulse::default();
        advance(Duration::from_secs(86_400)).await;
        assert_eq!(pulse.stuck_at(), None, "it has not begun yet");

        // Hours of steps, each within its limit.
        for _ in 0..3000 {
            pulse.step("verifying", Duration::from_secs(5));
            advance(Duration::from_secs(5)).await;
            assert_eq!(pulse.stuck_at(), None);
        }
        advance(LATE).await;
        assert_eq!(pulse.stuck_at(), None);
        advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.stuck_at(), Some("verifying"));

        // A step may be as long as it has announced.
        pulse.step("writing files", Duration::from_secs(600));
        advance(Duration::from_secs(659)).await;
        assert_eq!(pulse.stuck_at(), None);
        advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.stuck_at(), Some("writing files"));

        // A timer that is missed by more than the tolerance counts as stuck.
        pulse.rest(Some(Instant::now() + Duration::from_secs(300)));
        advance(Duration::from_secs(359)).await;
        assert_eq!(pulse.stuck_at(), None);
        advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.stuck_at(), Some("waiting for its next check"));
        pulse.rest(None);
        advance(Duration::from_secs(86_400)).await;
        assert_eq!(pulse.stuck_at(), None);
    }
}
