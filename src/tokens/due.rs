//! When something is due.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A time of the wall clock, and the same one of the timers' clock. Whichever comes first counts, so a wall clock that is set
/// back delays nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// The time of the wall clock.
    pub(super) at: SystemTime,
    timer: Instant,
}

impl Due {
    pub(super) fn after(delay: Duration, now: SystemTime) -> Self {
        Self { at: now + delay, timer: Instant::now() + delay }
    }

    /// How long it is until then; zero if it is due.
    pub(super) fn left(self, now: SystemTime) -> Duration {
        let wall = self.at.duration_since(now).unwrap_or_default();
        wall.min(self.timer.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn t18_whichever_clock_comes_first_counts() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = Duration::from_secs;
        let due = Due::after(seconds(150), start);
        assert_eq!(due.left(start), seconds(150));
        // The wall clock is set forward, or the machine has slept.
        assert_eq!(due.left(start + seconds(140)), seconds(10));
        assert_eq!(due.left(start + seconds(3600)), Duration::ZERO);
        // It is set back by an hour.
        tokio::time::advance(seconds(100)).await;
        assert_eq!(due.left(start + seconds(100) - seconds(3600)), seconds(50));
        tokio::time::advance(seconds(50)).await;
        assert_eq!(due.left(start + seconds(150) - seconds(3600)), Duration::ZERO);
    }
}
