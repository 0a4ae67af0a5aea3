//! Records that others changed the published set while PostgreSQL may have read it, and decides how soon it is published
//! again.

use std::time::Duration;

use tokio::time::Instant;

use super::PUBLISH_AGAIN;
use crate::timing::Backoff;

/// The number of changes of the files in a row that are answered at once: somebody may be editing them one by one.
const BURST: u32 = 5;
/// After this time without a disturbance, the next one is answered at once again.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct Disturbance {
    /// Whether it is unproven that the last disturbance had no effect.
    pending: bool,
    /// Whether the set will be published again because of it.
    pub(super) waits: bool,
    last: Option<Instant>,
    /// How many changes of the files have come in a row.
    changes: u32,
    backoff: Backoff,
}

impl Disturbance {
    pub(super) fn new() -> Self {
        let (first, longest) = PUBLISH_AGAIN;
        let backoff = Backoff::new(first, longest);
        Self { pending: false, waits: false, last: None, changes: 0, backoff }
    }

    /// Records that PostgreSQL may have read something else before this process started to check.
    pub(super) fn suspect(&mut self) {
        self.pending = true;
    }

    /// Records a disturbance; returns whether it follows another one: there may be more and more of them, and each reload wakes
    /// every backend.
    pub(super) fn note(&mut self) -> bool {
        self.pending = true;
        self.follows()
    }

    /// Whether this event follows another one within [`QUIET`].
    fn follows(&mut self) -> bool {
        let now = Instant::now();
        let follows = self.last.replace(now).is_some_and(|last| now < last + QUIET);
        if !follows {
            self.changes = 0;
            self.backoff.reset();
        }
        follows
    }

    /// Records a change of the published files by somebody with pgsvid's or root's rights, such as another helper that writes
    /// to the same directory. Returns whether there were more than [`BURST`] in a row: PostgreSQL reloads each time the files
    /// are published again.
    pub(super) fn note_change(&mut self) -> bool {
        self.follows();
        self.changes += 1;
        self.changes > BURST
    }

    /// Records that PostgreSQL is proven to have read the right set.
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
    async fn n58_files_that_are_changed_without_end_are_published_less_and_less_soon() {
        let mut disturbance = Disturbance::new();
        for _ in 0..BURST {
            assert!(!disturbance.note_change(), "somebody edits one file after another");
            advance(Duration::from_secs(1)).await;
        }
        let begun = Instant::now();
        let mut answers = 0;
        while begun.elapsed() < Duration::from_secs(3600) {
            assert!(disturbance.note_change());
            advance(disturbance.delay()).await;
            disturbance.settle();
            answers += 1;
        }
        assert!(answers < 400, "{answers} in an hour");
        advance(QUIET).await;
        assert!(!disturbance.note_change());
    }

    #[tokio::test(start_paused = true)]
    async fn a73_exchanges_without_end_are_answered_less_and_less_soon() {
        let mut disturbance = Disturbance::new();
        assert!(!disturbance.note());
        let begun = Instant::now();
        let mut answers = 0;
        while begun.elapsed() < Duration::from_secs(3600) {
            advance(disturbance.delay()).await;
            // It was proven in between, and another disturbance follows at once.
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
