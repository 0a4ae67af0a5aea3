//! That others were at the published set while PostgreSQL may have read it, and how soon it is published again.

use std::time::Duration;

use tokio::time::Instant;

use super::PUBLISH_AGAIN;
use crate::timing::Backoff;

/// After so long without one, the next is answered at once again.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct Disturbance {
    /// It is not proven yet that nothing came of the last one.
    pending: bool,
    /// The set is published again for it when its time has come.
    pub(super) waits: bool,
    last: Option<Instant>,
    backoff: Backoff,
}

impl Disturbance {
    pub(super) fn new() -> Self {
        let (first, longest) = PUBLISH_AGAIN;
        Self { pending: false, waits: false, last: None, backoff: Backoff::new(first, longest) }
    }

    /// PostgreSQL may have read something else before we have begun to look.
    pub(super) fn suspect(&mut self) {
        self.pending = true;
    }

    /// Notes one; returns whether it follows another: they may go on without end, and each reload wakes every backend.
    pub(super) fn note(&mut self) -> bool {
        let now = Instant::now();
        self.pending = true;
        let follows = self.last.replace(now).is_some_and(|last| now < last + QUIET);
        if !follows {
            self.backoff.reset();
        }
        follows
    }

    /// PostgreSQL is proven to have read what is ours.
    pub(super) fn settle(&mut self) {
        self.pending = false;
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    /// How long to wait before the set is published, or handed over, again.
    pub(super) fn delay(&mut self) -> Duration {
        self.backoff.delay()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a73_whoever_exchanges_without_end_is_answered_less_and_less_soon() {
        let mut disturbance = Disturbance::new();
        assert!(!disturbance.note());
        let begun = Instant::now();
        let mut answers = 0;
        while begun.elapsed() < Duration::from_secs(3600) {
            advance(disturbance.delay()).await;
            // It was proven meanwhile, and at once there is another.
            disturbance.settle();
            assert!(disturbance.note() && disturbance.is_pending());
            answers += 1;
        }
        assert!(answers < 400, "{answers} in an hour");
        advance(QUIET).await;
        assert!(!disturbance.note());
        assert!(disturbance.delay() <= PUBLISH_AGAIN.0);
    }
}
