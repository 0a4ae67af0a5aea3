//! The only place in which tests poll.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(10);

/// The answer of a polled condition: `bool`, or `Option` with the awaited value.
pub trait Outcome {
    /// What [`eventually`] returns.
    type Value;

    /// The value, once the condition holds.
    fn settled(self) -> Option<Self::Value>;
}

impl Outcome for bool {
    type Value = ();

    fn settled(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn settled(self) -> Option<T> {
        self
    }
}

/// Checks every 10 ms until `condition` holds; panics with `what` if it does not within `limit`.
#[track_caller]
pub fn eventually<O: Outcome>(
    limit: Duration,
    what: impl Display,
    mut condition: impl FnMut() -> O,
) -> O::Value {
    within(limit, &mut condition).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Polls as [`eventually`] does, for callers that print more than one sentence after the time is up.
pub(crate) fn within<O: Outcome>(
    limit: Duration,
    mut condition: impl FnMut() -> O,
) -> Option<O::Value> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition().settled() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value() {
        let mut rest = 3;
        let value = eventually(Duration::from_secs(5), "counted down", || {
            rest -= 1;
            (rest == 0).then_some("done")
        });
        assert_eq!(value, "done");
    }

    #[test]
    #[should_panic(expected = "not within 20ms: pigs fly")]
    fn names_what_did_not_happen() {
        eventually(Duration::from_millis(20), "pigs fly", || false);
    }
}
