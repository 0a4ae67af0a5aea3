//! Who changes Secrets, and how often they were restored: somebody may change them again and again. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The time in which restorations are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// How many of them follow at once.
const FREE: usize = 3;
/// The pause after one more; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);
/// How many restorations are kept: with so many, the pause is the longest.
const KEPT: usize = 16;

/// Who has changed a Secret that held the set.
pub(super) enum Writer<'a> {
    /// Somebody has deleted it; Kubernetes does not record who.
    Deletes,
    /// These managers have set its fields; none if they are not recorded.
    Others(&'a [String]),
    /// Another process that applies under the same name as this one.
    SameName,
}

impl<'a> Writer<'a> {
    pub(super) fn of(by: &'a [String], is_own: bool) -> Self {
        if is_own { Self::SameName } else { Self::Others(by) }
    }
}

/// The restorations of one Secret, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Contest(VecDeque<Instant>);

impl Contest {
    /// Records that the Secret was restored; returns whether it is contested from now on, and was not before.
    pub(super) fn restored(&mut self, now: Instant) -> bool {
        let before = self.is_contested(now);
        self.0.retain(|at| now.duration_since(*at) < WINDOW);
        self.0.push_back(now);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
        !before && self.is_contested(now)
    }

    /// Whether somebody changes the Secret again and again.
    pub(super) fn is_contested(&self, now: Instant) -> bool {
        self.recent(now) > FREE
    }

    /// When the next change is undone at the earliest.
    pub(super) fn not_before(&self, now: Instant) -> Instant {
        let Some(last) = self.0.back() else { return now };
        match self.recent(now).checked_sub(FREE + 1) {
            None => now,
            Some(more) => {
                let more = u32::try_from(more.min(10)).unwrap_or(10);
                *last + (FIRST * 2u32.pow(more)).min(LONGEST)
            }
        }
    }

    fn recent(&self, now: Instant) -> usize {
        self.0.iter().filter(|at| now.duration_since(**at) < WINDOW).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v04_a_secret_that_is_changed_again_and_again_is_restored_with_pauses_of_a_minute_at_most() {
        let mut contest = Contest::default();
        let mut now = Instant::now();
        let mut longest = Duration::ZERO;
        let begun = now;
        let mut restored = 0;
        while now.duration_since(begun) < Duration::from_secs(3600) {
            let contested = contest.restored(now);
            restored += 1;
            assert_eq!(contested, restored == FREE + 1, "{restored}");
            let next = contest.not_before(now);
            longest = longest.max(next.duration_since(now));
            now = next.max(now + Duration::from_millis(50));
        }
        assert_eq!(longest, LONGEST);
        assert!(restored < 80, "{restored}");
        now += WINDOW;
        assert!(!contest.is_contested(now));
        assert!(contest.not_before(now) <= now);
    }
}
