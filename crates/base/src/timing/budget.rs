//! A budget that refills: some at once, then one after each interval.

use std::time::Duration;

use tokio::time::Instant;

/// The budget (a token bucket).
#[derive(Debug)]
pub struct Budget {
    most: u32,
    each: Duration,
    left: u32,
    /// Since when time counts towards another one.
    since: Instant,
}

impl Budget {
    /// Allows `most` at once, and one more after each time of `each`; with an interval of zero, any number.
    #[must_use]
    pub fn new(most: u32, each: Duration) -> Self {
        Self { most, each, left: most, since: Instant::now() }
    }

    /// Takes one. An error is the moment from which there is one again.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if self.each.is_zero() {
            return Ok(());
        }
        let grown = self.grown(now);
        if self.left + grown >= self.most {
            (self.left, self.since) = (self.most, now);
        } else {
            self.left += grown;
            self.since += self.each * grown;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.since + self.each),
        }
    }

    /// How many can be taken now.
    #[must_use]
    pub fn left(&self, now: Instant) -> u32 {
        self.left + self.grown(now)
    }

    /// How many have been added since `since`: at most as many as there is room for.
    fn grown(&self, now: Instant) -> u32 {
        let room = self.most - self.left;
        let passed = now.saturating_duration_since(self.since).as_nanos();
        let grown = passed.checked_div(self.each.as_nanos()).unwrap_or(u128::MAX);
        u32::try_from(grown).unwrap_or(room).min(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 5;
    const EACH: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn b122_some_come_at_once_and_then_one_in_each_interval() {
        let (mut budget, start) = (Budget::new(MOST, EACH), Instant::now());
        let mut taken = 0;
        for second in 0..3600 {
            taken += u32::from(budget.take(start + Duration::from_secs(second)).is_ok());
        }
        assert_eq!(taken, MOST + 119);
        let late = start + Duration::from_secs(3599);
        let moment = budget.take(late).unwrap_err();
        assert!(moment > late && moment <= late + EACH && budget.take(moment).is_ok());
        // After a rest they may come at once again, and not more of them.
        let rested = late + Duration::from_secs(3600);
        assert_eq!(budget.left(rested), MOST);
        assert_eq!((0..20).filter(|_| budget.take(rested).is_ok()).count(), 5);
        assert_eq!(budget.left(rested), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn b122_without_an_interval_any_number_comes_at_once() {
        let mut budget = Budget::new(MOST, Duration::ZERO);
        assert!((0..1000).all(|_| budget.take(Instant::now()).is_ok()));
        assert_eq!(budget.left(Instant::now()), MOST);
    }
}
