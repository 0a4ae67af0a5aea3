//! The log lines about a client's login: each change once.

use tracing::{debug, info};

use super::Admitted;
use crate::consumers::{Attempt, Publication};
use crate::text::ascii;
use crate::timing;

/// The server lets the client in with the published set. `routine` means that nothing is new.
pub(super) fn admitted(
    consumer: Option<&str>,
    attempt: &Attempt,
    publication: &Publication,
    admitted: &Admitted<'_>,
    routine: bool,
) {
    let Publication { material, generation, .. } = publication;
    if routine {
        debug!(generation, verdict = %attempt.verdict, "logged in again");
        return;
    }
    let Admitted { role, database, unproven } = admitted;
    info!(
        event = "client-admitted", consumer, generation,
        verdict = %attempt.verdict,
        address = attempt.facts.address,
        role = ascii(role), database = ascii(database),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        login_ms = timing::milliseconds(attempt.verify),
        unproven,
        "the server lets the client in"
    );
}

/// No login could be judged, and none is tried again soon.
pub(super) fn unjudged(consumer: Option<&str>, attempt: &Attempt, generation: u64, routine: bool) {
    if routine {
        return;
    }
    let found = attempt.findings.first();
    let code = found.map(|found| found.code.name());
    let fix = found.and_then(|found| found.fix.as_deref());
    let text = found.map_or("no login can be judged", |found| found.text.as_str());
    info!(
        event = "client-unjudged", consumer, generation,
        verdict = %attempt.verdict, code, fix, "{text}"
    );
}
