//! How soon a change of the extra authorities is published after another one. Each publication makes PostgreSQL reload, and the
//! program that writes these files, or a user who may, can change them again and again.
//!
//! A few changes in a row are published at once; then the pauses grow, but not so long that a removed authority stays trusted
//! for more than a minute.

use std::time::Duration;

use tokio::time::Instant;

/// Changes in a row without a pause.
const AT_ONCE: u32 = 5;
/// The first and the longest pause.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// After this time without a change, [`AT_ONCE`] changes are again taken without a pause.
const QUIET: Duration = Duration::from_secs(300);

/// The changes in a row.
pub(super) struct ChangeThrottle {
    count: u32,
    last: Instant,
    next: Instant,
}

impl ChangeThrottle {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { count: 0, last: now, next: now }
    }

    /// When the next change may be taken.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Counts a change. Returns true if later ones have to wait, and the ones before had not.
    pub(super) fn taken(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.last) >= QUIET {
            self.count = 0;
        }
        self.last = now;
        self.count = self.count.saturating_add(1);
        let Some(beyond) = self.count.checked_sub(AT_ONCE) else { return false };
        let (first, longest) = PAUSE;
        self.next = now + first.saturating_mul(1 << beyond.min(8)).min(longest);
        beyond == 0
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn b80_changes_of_the_extra_authorities_without_end_are_taken_less_and_less_often() {
        let mut change_throttle = ChangeThrottle::new();
        let pauses = |change_throttle: &mut ChangeThrottle| {
            let told = change_throttle.taken();
            (change_throttle.next().saturating_duration_since(Instant::now()).as_secs(), told)
        };
        for _ in 0..2 {
            for _ in 1..AT_ONCE {
                assert_eq!(pauses(&mut change_throttle), (0, false));
            }
            for expected in [(5, true), (10, false), (20, false), (40, false), (60, false)] {
                assert_eq!(pauses(&mut change_throttle), expected);
                advance(Duration::from_secs(expected.0)).await;
            }
            assert_eq!(pauses(&mut change_throttle), (60, false));
            advance(QUIET).await;
        }
    }
}
