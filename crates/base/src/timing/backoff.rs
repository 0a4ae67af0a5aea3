//! Exponential back-off with jitter, from the first retry on, so that a fleet does not retry in step.

use std::time::Duration;

/// Shortest delay: full jitter alone can give zero, and a series of zeros is a busy loop.
const SHORTEST: Duration = Duration::from_millis(10);

/// Delays between retries. The first is uniform between 10 ms and `first`. Each later one is uniform within the upper half of a ceiling
/// that doubles up to `longest`, so that something that has failed often is not retried at once by chance.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    /// A back-off whose first delay is at most `first`, and every delay at most `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, tries: 0 }
    }

    /// The delay before the next try.
    pub fn delay(&mut self) -> Duration {
        let ceiling = self.ceiling();
        let part = if self.tries == 0 { fastrand::f64() } else { 0.5 + fastrand::f64() / 2.0 };
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(part).max(SHORTEST)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    fn ceiling(&self) -> Duration {
        let doubled = 2u32.saturating_pow(self.tries);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// A delay that is up to a tenth shorter, at random, so that a fleet does not retry in step.
#[must_use]
pub fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(1.0 - fastrand::f64() / 10.0)
}

#[cfg(test)]
mod tests {
    use test_support::Dice;

    use super::*;

    #[test]
    fn n62_delays_stay_below_a_doubling_ceiling_and_not_far_below_it() {
        let first = Duration::from_millis(100);
        let longest = Duration::from_secs(5);
        for _ in 0..200 {
            let mut backoff = Backoff::new(first, longest);
            for tries in 0..80u32 {
                let delay = backoff.delay();
                let ceiling = first.saturating_mul(2u32.saturating_pow(tries)).min(longest);
                let floor = if tries == 0 { SHORTEST } else { ceiling / 2 };
                assert!(delay >= floor && delay <= ceiling, "try {tries}: {delay:?}");
            }
            backoff.reset();
            assert!(backoff.delay() <= first);
        }
    }

    #[test]
    fn w11_every_delay_is_within_its_limits() {
        let mut dice = Dice::from_environment("BACKOFF_SEED");
        let seed = dice.seed();
        for _ in 0..2000 {
            // From nothing to years, and the first may be longer than the longest.
            let mut limit = || {
                Duration::from_millis(u64::from(dice.between(0..=u32::MAX)) >> dice.between(0..=31))
            };
            let (first, longest) = (limit(), limit());
            let mut backoff = Backoff::new(first, longest);
            let mut ceiling = first.min(longest);
            for tries in 0..dice.between(1..=100) {
                let delay = backoff.delay();
                let bounds = SHORTEST..=ceiling.max(SHORTEST);
                assert!(
                    bounds.contains(&delay),
                    "{seed}: {first:?} {longest:?}, try {tries}: {delay:?}"
                );
                ceiling = ceiling.saturating_mul(2).min(longest);
                if dice.once_in(20) {
                    backoff.reset();
                    ceiling = first.min(longest);
                }
            }
        }
    }

    #[test]
    fn n62_a_fixed_delay_is_shortened_by_a_tenth_at_most() {
        let delay = Duration::from_secs(300);
        let drawn: Vec<_> = (0..200).map(|_| jittered(delay)).collect();
        assert!(drawn.iter().all(|it| (Duration::from_secs(270)..=delay).contains(it)));
        assert!(drawn.iter().any(|it| *it != drawn[0]));
    }

    #[test]
    fn delays_differ() {
        let delays: Vec<_> = (0..20)
            .map(|_| Backoff::new(Duration::from_secs(8), Duration::from_secs(8)).delay())
            .collect();
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
