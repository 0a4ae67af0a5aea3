//! How often PostgreSQL has to load what an agent changes. A faulty agent may issue another identity whenever it is asked:
//! each is valid, each is published and loaded, and each reload wakes every backend.
//!
//! The first [`BURST`] changes are published at once. After that the newest change is published at intervals. Changes of the
//! authorities have a budget of their own, because clients of an authority that was removed from the bundle must be kept out. A
//! change that is needed, because the published leaf is about to expire, waits for [`NEEDED`] at most: an agent may cause such
//! changes again and again.

use std::time::Duration;

use tokio::time::Instant;

use crate::timing::Budget;

/// Most changes of one kind in a row.
const BURST: u32 = 120;
/// How long before the published leaf expires a new leaf is taken without waiting.
const IN_TIME: Duration = Duration::from_secs(2);
/// Shortest time between two changes that are taken because the published leaf is about to expire.
const NEEDED: Duration = Duration::from_secs(5);

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The leaf or its chain.
    Leaf,
    /// The authorities, and perhaps the leaf, too.
    Authorities,
}

/// The budget for changes.
pub(super) struct PublicationBudget {
    every: Duration,
    leaf: Budget,
    authorities: Budget,
    /// When the next needed change may be taken.
    needed: Instant,
    /// Whether it was reported that changes have to wait.
    pub(super) is_reported: bool,
}

impl PublicationBudget {
    /// After a burst one change is taken per `every`, or each at once if it is zero.
    pub(super) fn new(every: Duration) -> Self {
        let full = || Budget::new(BURST, every);
        Self {
            every,
            leaf: full(),
            authorities: full(),
            needed: Instant::now(),
            is_reported: false,
        }
    }

    /// Takes a change, or returns when it may be taken. `valid_for` is how long the published leaf is still valid.
    pub(super) fn take(&mut self, change: Change, valid_for: Duration) -> Result<(), Instant> {
        let now = Instant::now();
        let budget = match change {
            Change::Leaf => &mut self.leaf,
            Change::Authorities => &mut self.authorities,
        };
        let Err(moment) = budget.take(now) else { return Ok(()) };
        let needed = self.needed.max(now + valid_for.saturating_sub(IN_TIME));
        if needed > now {
            return Err(moment.min(needed));
        }
        self.needed = now + NEEDED;
        Ok(())
    }

    /// The time between two changes after a burst.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// Whether more than half of each budget is left: then no change has had to wait for some time.
    pub(super) fn is_at_rest(&self) -> bool {
        [&self.leaf, &self.authorities].iter().all(|budget| budget.left(Instant::now()) > BURST / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);
    const LONG: Duration = Duration::from_secs(3600);

    fn taken(pace: &mut PublicationBudget, change: Change, valid_for: Duration) -> u32 {
        (0..10 * BURST).map(|_| u32::from(pace.take(change, valid_for).is_ok())).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a40_after_a_burst_one_change_is_taken_in_a_while_and_the_first_after_a_quiet_time_at_once()
     {
        let mut pace = PublicationBudget::new(EVERY);
        assert_eq!(taken(&mut pace, Change::Leaf, LONG), BURST);
        assert!(!pace.is_at_rest());
        for _ in 0..3 {
            assert_eq!(pace.take(Change::Leaf, LONG), Err(Instant::now() + EVERY));
            tokio::time::advance(EVERY).await;
            assert_eq!(taken(&mut pace, Change::Leaf, LONG), 1);
        }
        tokio::time::advance(BURST * EVERY).await;
        assert_eq!(taken(&mut pace, Change::Leaf, LONG), BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn a40_a_new_authority_and_the_replacement_of_an_expiring_leaf_do_not_wait_for_the_limit()
    {
        let mut pace = PublicationBudget::new(EVERY);
        taken(&mut pace, Change::Leaf, LONG);
        // Changes of the authorities have a budget of their own, which ends, too.
        assert_eq!(taken(&mut pace, Change::Authorities, LONG), BURST);
        // A new leaf while the published one is about to expire.
        let soon = Duration::from_secs(5);
        let moment = Instant::now() + Duration::from_secs(3);
        assert_eq!(pace.take(Change::Leaf, soon), Err(moment));
        assert_eq!(pace.take(Change::Leaf, IN_TIME), Ok(()));
        tokio::time::advance(EVERY).await;
        assert_eq!(taken(&mut pace, Change::Leaf, LONG), 1);
        assert_eq!(pace.take(Change::Leaf, Duration::ZERO), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a65_leaves_that_are_always_about_to_expire_pass_the_limit_now_and_then() {
        let mut pace = PublicationBudget::new(LONG);
        taken(&mut pace, Change::Leaf, LONG);
        taken(&mut pace, Change::Authorities, LONG);
        for _ in 0..3 {
            let both = taken(&mut pace, Change::Leaf, Duration::ZERO)
                + taken(&mut pace, Change::Authorities, IN_TIME);
            assert_eq!(both, 1);
            assert_eq!(pace.take(Change::Leaf, Duration::ZERO), Err(Instant::now() + NEEDED));
            tokio::time::advance(NEEDED).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a40_an_interval_of_zero_turns_the_limit_on_changes_off() {
        let mut pace = PublicationBudget::new(Duration::ZERO);
        assert_eq!(taken(&mut pace, Change::Leaf, LONG), 10 * BURST);
    }
}
