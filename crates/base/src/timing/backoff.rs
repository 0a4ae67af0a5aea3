//! Exponential back-off with full jitter, from the first try on, so that a fleet does not retry in step.

use std::time::Duration;

/// Shortest delay: full jitter alone may come out as nothing, and a loop of nothings is a busy one.
const SHORTEST: Duration = Duration::from_millis(10);

/// Delays between tries: uniform between nothing and a ceiling that doubles up to `longest`.
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
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(fastrand::f64()).max(SHORTEST)
    }

    /// Forgets the tries made so far: something succeeded.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    fn ceiling(&self) -> Duration {
        let doubled = 2u32.saturating_pow(self.tries);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use test_support::Dice;

    use super::*;

    #[test]
    fn delays_stay_within_a_doubling_ceiling() {
        let first = Duration::from_millis(100);
        let longest = Duration::from_secs(5);
        for _ in 0..200 {
            let mut backoff = Backoff::new(first, longest);
            for tries in 0..80u32 {
                let delay = backoff.delay();
                let ceiling = first.saturating_mul(2u32.saturating_pow(tries)).min(longest);
                assert!(delay >= SHORTEST && delay <= ceiling, "try {tries}: {delay:?}");
            }
            backoff.reset();
            assert!(backoff.delay() <= first);
        }
    }

    #[test]
    fn w11_whatever_its_limits_and_however_often_it_is_asked_a_delay_is_within_bounds() {
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
    fn delays_differ() {
        let delays: Vec<_> = (0..20)
            .map(|_| Backoff::new(Duration::from_secs(8), Duration::from_secs(8)).delay())
            .collect();
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
