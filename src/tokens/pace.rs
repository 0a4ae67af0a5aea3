//! How often a file may change: an agent that sends other contents endlessly neither wears out the disk nor floods the log.

use std::time::Duration;

use tokio::time::Instant;

/// Changes that may come at once.
const AT_ONCE: u32 = 5;
/// How long it takes until another one is allowed, after that.
const EACH: Duration = Duration::from_secs(30);

/// The changes that are left.
#[derive(Debug)]
pub(super) struct RepairBudget {
    left: u32,
    /// Since when time counts towards another one.
    since: Instant,
}

impl RepairBudget {
    pub(super) fn new() -> Self {
        Self { left: AT_ONCE, since: Instant::now() }
    }

    /// Takes one. An error is the time until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        while self.left < AT_ONCE && now.duration_since(self.since) >= EACH {
            self.left += 1;
            self.since += EACH;
        }
        if self.left == AT_ONCE {
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(EACH.saturating_sub(now.duration_since(self.since))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn b122_some_changes_come_at_once_and_then_one_in_half_a_minute() {
        let (mut pace, start) = (RepairBudget::new(), Instant::now());
        let mut changes = 0;
        for second in 0..3600 {
            changes += u32::from(pace.take(start + Duration::from_secs(second)).is_ok());
        }
        assert_eq!(changes, AT_ONCE + 119);
        let late = start + Duration::from_secs(3599);
        let wait = pace.take(late).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= EACH && pace.take(late + wait).is_ok());
        // After a rest they may come at once again, and not more of them.
        let rested = late + Duration::from_secs(3600);
        assert_eq!((0..20).filter(|_| pace.take(rested).is_ok()).count(), 5);
    }
}
