//! Whether somebody may still be writing. Pure: it is told what the files look like, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::layout::Stamps;

/// What the files looked like, and since when.
pub(super) struct Settling {
    /// For how long they have to stay as they are.
    quiet: Duration,
    seen: Option<(Stamps, Instant)>,
}

impl Settling {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, seen: None }
    }

    /// The files look like this now. Fails while that is too new, with when to look again.
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

    /// They could not be looked at: whatever they look like next is new.
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
