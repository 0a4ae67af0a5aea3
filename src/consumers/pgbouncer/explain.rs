//! Why the published set is not proven to be served by PgBouncer.

use std::time::SystemTime;

use crate::consumers::Attempt;
use crate::consumers::delivery::Obstacle;
use crate::consumers::trouble::{NotAsked, Trouble};
use crate::finding::Finding;
use crate::pgbouncer::{self, Error};
use crate::sql;

/// What to log about a failed attempt, and what it means for the next one; `again` if the one before failed, too.
pub(super) fn trouble(
    attempt: &Attempt,
    console: &sql::Settings,
    again: bool,
    why_not_newer: Finding,
    now: SystemTime,
) -> (Trouble, Obstacle) {
    let general = if attempt.has_outlived_its_renewal() {
        pgbouncer::outlived(&attempt.facts, why_not_newer, now)
    } else {
        pgbouncer::explain(attempt.verdict, &attempt.facts, now)
    };
    let not_asked = attempt.console_error().map(|error| NotAsked {
        program: "PgBouncer",
        error: error.to_string(),
        found: pgbouncer::session(error, console),
        is_absent: matches!(error, Error::NotRunning),
        is_limited: false,
    });
    Trouble::of(attempt, general, not_asked, again)
}
