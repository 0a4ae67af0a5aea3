//! Why the published set is not proven to be served by PostgreSQL.

use std::time::SystemTime;

use crate::consumers::Attempt;
use crate::consumers::delivery::Obstacle;
use crate::consumers::trouble::{NotAsked, Trouble};
use crate::diagnose;
use crate::finding::Finding;
use crate::sql;
use crate::survey;

/// What to log about a failed attempt, and what it means for the next one; `again` if the one before failed, too.
pub(super) fn trouble(
    attempt: &Attempt,
    session: &sql::Settings,
    again: bool,
    why_not_newer: Finding,
    now: SystemTime,
) -> (Trouble, Obstacle) {
    let general = if attempt.has_outlived_its_renewal() {
        diagnose::outlived(&attempt.facts, why_not_newer, now)
    } else {
        diagnose::explain(attempt.verdict, &attempt.facts, now)
    };
    let not_asked = attempt.session_error().map(|error| NotAsked {
        program: "PostgreSQL",
        error: error.to_string(),
        found: no_session(error, session),
        is_absent: matches!(error, sql::Error::NotRunning),
        is_limited: diagnose::is_limited(error, session),
    });
    Trouble::of(attempt, general, not_asked, again)
}

/// Why PostgreSQL could not be asked to reload: the same finding as the command `check` has, if pgsvid can read the files that
/// decide it.
pub(super) fn no_session(error: &sql::Error, session: &sql::Settings) -> Finding {
    if let Some(found) = diagnose::deciding_line(error, session, || survey::access(session, None)) {
        return found;
    }
    let found = diagnose::session(error, session);
    if matches!(error, sql::Error::NotRunning) {
        return diagnose::looked_around(found, &survey::neighbours(session));
    }
    found
}
