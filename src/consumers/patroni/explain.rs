//! Why the published set is not proven to be served by Patroni's REST API.

use std::time::SystemTime;

use crate::consumers::Attempt;
use crate::consumers::delivery::Obstacle;
use crate::consumers::trouble::{NotAsked, Trouble};
use crate::finding::Finding;
use crate::patroni::{self, Error};

/// What to log about a failed attempt, and what it means for the next one; `asked` if Patroni has accepted a request to reload
/// for this set, `again` if the attempt before failed, too.
pub(super) fn trouble(
    attempt: &Attempt,
    asked: bool,
    again: bool,
    why_not_newer: Finding,
    now: SystemTime,
) -> (Trouble, Obstacle) {
    let facts = &attempt.facts;
    let general = if attempt.has_outlived_its_renewal() {
        patroni::outlived(facts, why_not_newer, now)
    } else {
        patroni::explain(attempt.verdict, facts, Some(asked), now)
    };
    let not_asked = attempt.patroni_error().map(|error| NotAsked {
        program: "Patroni",
        error: error.to_string(),
        found: patroni::not_asked(error, &facts.address),
        is_absent: matches!(error, Error::NotRunning),
        is_limited: false,
    });
    Trouble::of(attempt, general, not_asked, again)
}
