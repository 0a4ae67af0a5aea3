//! A budget of work for one message, or one leaf.

use std::cell::Cell;

/// The budget in nanoseconds of an optimized program, roughly. Even on a processor that is ten times as slow the daemon
/// delays nothing that matters: its watchdog waits for 30 seconds.
const MOST: usize = 150_000_000;

/// What is left of the budget.
pub(crate) struct Effort(Cell<usize>);

impl Default for Effort {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Effort {
    /// A budget with another limit, in nanoseconds.
    pub(crate) fn of(most: usize) -> Self {
        Self(Cell::new(most))
    }

    /// Spends `cost`. `false` if the budget is too small for it; then nothing can be spent any more.
    pub(crate) fn spend(&self, cost: usize) -> bool {
        let left = self.0.get().checked_sub(cost);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    pub(crate) fn left(&self) -> usize {
        self.0.get()
    }
}
