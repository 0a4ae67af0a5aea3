//! Until when the next set waits for consumers that still load the one before. Pure: it is told what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long the next set waits: a consumer that answers slowly, or seems to, must not keep it back.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The consumers that load the published set at the moment.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// Which one, and since when.
    loading: BTreeMap<usize, Instant>,
    /// A set waits for them.
    waited: bool,
}

impl Barrier {
    /// A consumer begins to load the published set.
    pub(super) fn begin(&mut self, consumer: usize, now: Instant) {
        self.loading.insert(consumer, now);
    }

    /// It has ended, however.
    pub(super) fn end(&mut self, consumer: usize) {
        self.loading.remove(&consumer);
    }

    /// When the next set may be swapped in, unless they end before; `None` if none of them loads anything.
    pub(super) fn opens(&self) -> Option<Instant> {
        self.loading.values().max().map(|begun| *begun + PATIENCE)
    }

    /// Whether the next set may be swapped in; if not, it waits from now on.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        self.waited = self.opens().is_some_and(|at| at > now);
        !self.waited
    }

    /// Whether a set waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waited
    }
}
