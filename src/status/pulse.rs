//! The loop's sign of life: it says by when it will be heard of again, and whoever asks sees whether that is over.
//!
//! How long a whole rotation takes tells nothing: with a server that answers slowly, or a slow disk, one may rightly
//! take minutes, and a loop that has missed its own timer is not in a rotation at all. So each single step has its limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How late the loop may be: a busy machine holds up everybody.
const LATE: Duration = Duration::from_secs(60);

/// Shared by the loop, its consumers, and all who ask. Noting something wakes nobody.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    promises: Arc<Mutex<BTreeMap<usize, Promise>>>,
    /// Whose promise this one notes.
    of: usize,
}

#[derive(Debug, Clone, Copy)]
struct Promise {
    by: Instant,
    what: &'static str,
}

impl Pulse {
    /// The same for one that works beside the loop, whose promises are its own.
    #[must_use]
    pub fn beside(&self, number: usize) -> Self {
        Self { promises: Arc::clone(&self.promises), of: number + 1 }
    }

    /// A step has begun, which takes no longer than `limit`.
    pub fn step(&self, what: &'static str, limit: Duration) {
        self.note(Some(Promise { by: Instant::now() + limit, what }));
    }

    /// Nothing is to be done before that moment; `None` if nothing is until something happens.
    pub fn rest(&self, until: Option<Instant>) {
        self.note(until.map(|by| Promise { by, what: "waiting for its next look" }));
    }

    /// What was last heard to be done, if something should have been heard since.
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

        // Long ones, as they were announced.
        pulse.step("writing files", Duration::from_secs(600));
        advance(Duration::from_secs(659)).await;
        assert_eq!(pulse.stuck_at(), None);
        advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.stuck_at(), Some("writing files"));

        // A timer that it has missed.
        pulse.rest(Some(Instant::now() + Duration::from_secs(300)));
        advance(Duration::from_secs(359)).await;
        assert_eq!(pulse.stuck_at(), None);
        advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.stuck_at(), Some("waiting for its next look"));
        pulse.rest(None);
        advance(Duration::from_secs(86_400)).await;
        assert_eq!(pulse.stuck_at(), None);
    }
}
