//! How long the next set waits for consumers that still load the one before. It reads no clock: the time is an input.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long the next set usually waits: a consumer that answers slowly must not delay it further. Patroni has longer, because it
/// reads its files in its next loop only.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The consumers that are loading the published set, and the running hooks that the next set waits for.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// The consumers by number, and until when the next set waits for each.
    loading: BTreeMap<usize, Instant>,
    /// Whether a set waits for them.
    waited: bool,
}

impl Barrier {
    /// A consumer begins to load the published set, and the next one waits for it until `deadline`. If it does so already, its
    /// time goes on.
    pub(super) fn begin(&mut self, consumer: usize, deadline: Instant) {
        self.loading.entry(consumer).or_insert(deadline);
    }

    /// Its loading has ended, successfully or not.
    pub(super) fn end(&mut self, consumer: usize) {
        self.loading.remove(&consumer);
    }

    /// When the next set may be swapped in, unless they end earlier; `None` if none of them loads anything.
    pub(super) fn opens(&self) -> Option<Instant> {
        self.loading.values().max().copied()
    }

    /// Whether the next set may be swapped in; if not, it waits from now on.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        self.waited = self.is_closed(now);
        !self.waited
    }

    /// Whether a consumer still has time to load the published set.
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.opens().is_some_and(|at| at > now)
    }

    /// Whether a set waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waited
    }
}
