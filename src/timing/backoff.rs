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
    fn delays_differ() {
        let delays: Vec<_> = (0..20)
            .map(|_| Backoff::new(Duration::from_secs(8), Duration::from_secs(8)).delay())
            .collect();
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
