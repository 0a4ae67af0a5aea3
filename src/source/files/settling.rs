//! Whether another program may still be writing the files. Pure: the attributes of the files and the time are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::layout::Stamps;

/// The latest attributes of the files, and since when they have been so.
pub(super) struct Settling {
    /// For how long the files must be unchanged.
    quiet: Duration,
    seen: Option<(Stamps, Instant)>,
}

impl Settling {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, seen: None }
    }

    /// Records the attributes of the files. The error is the time to read them again, if they have changed too recently.
    pub(super) fn seen(&mut self, stamps: &Stamps, now: Instant) -> Result<(), Instant> {
        let since = match &self.seen {
            Some((known, since)) if known == stamps => *since,
            _ => {
                self.seen = Some((stamps.clone(), now));
                now
            }
        };
        let settled = since + self.quiet;
        if settled <= now { Ok(()) } else { Err(settled) }
    }

    /// Forgets the attributes, because the files could not be read: the next ones count as new.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z10_files_that_change_again_and_again_are_never_settled_and_those_that_stay_are_once() {
        let quiet = Duration::from_secs(1);
        let mut settling = Settling::new(quiet);
        let begun = Instant::now();
        let stamps = Stamps::sized;
        for step in 0..100 {
            let now = begun + quiet / 2 * step;
            assert!(settling.seen(&stamps(u64::from(step)), now).is_err());
        }
        let now = begun + quiet * 60;
        assert_eq!(settling.seen(&stamps(7), now), Err(now + quiet));
        assert!(settling.seen(&stamps(7), now + quiet / 2).is_err());
        assert_eq!(settling.seen(&stamps(7), now + quiet), Ok(()));
        settling.forget();
        assert!(settling.seen(&stamps(7), now + quiet * 2).is_err());
    }
}
