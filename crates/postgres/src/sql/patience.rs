//! How long to wait for a server. Each answer has a limit, and the session as a whole has one, too: otherwise a server that
//! takes almost the limit for each answer would delay everything else for a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::LIMIT;
use super::error::Error;

/// The time that is left for a session.
#[derive(Debug)]
pub(super) struct Patience {
    all: Duration,
    milliseconds: AtomicU64,
}

impl Patience {
    /// The time for the whole session.
    pub(super) fn new(all: Duration) -> Self {
        Self { all, milliseconds: milliseconds(all).into() }
    }

    /// Waits for an answer: five seconds, or what is left of the session's time if that is less.
    ///
    /// # Errors
    /// [`Error::Silent`] if five seconds have passed, [`Error::Slow`] if the session's time is used up.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let left = Duration::from_millis(self.milliseconds.load(Ordering::Relaxed));
        let begun = Instant::now();
        let outcome = timeout(left.min(LIMIT), answer).await;
        let left_now = milliseconds(left.saturating_sub(begun.elapsed()));
        self.milliseconds.store(left_now, Ordering::Relaxed);
        let too_late = if left < LIMIT { Error::Slow(self.all) } else { Error::Silent(LIMIT) };
        outcome.map_err(|_| too_late)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a49_answers_that_come_just_in_time_do_not_go_on_for_ever() {
        let begun = Instant::now();
        let patience = Patience::new(Duration::from_secs(15));
        for _ in 0..3 {
            assert!(patience.wait(sleep(Duration::from_millis(4800))).await.is_ok());
        }
        for _ in 0..10 {
            let error = patience.wait(sleep(Duration::from_millis(4800))).await.unwrap_err();
            assert!(matches!(error, Error::Slow(_)), "{error}");
        }
        assert!(begun.elapsed() <= Duration::from_secs(15), "{:?}", begun.elapsed());

        let patience = Patience::new(Duration::from_secs(15));
        let error = patience.wait(sleep(Duration::from_secs(6))).await.unwrap_err();
        assert!(matches!(error, Error::Silent(LIMIT)), "{error}");
    }
}
