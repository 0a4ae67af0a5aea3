//! The log line that every consumer has: the published set is in force there.

use std::time::Duration;

use tracing::{debug, info};

use super::Attempt;
use crate::material::Material;
use crate::text::ascii;
use crate::timing;
use crate::verify::Proof;

/// The line of a completed rotation. `took` is the duration of the publication, if it is new; `routine` means that nothing is
/// new.
pub(super) fn rotated(
    consumer: Option<&str>,
    attempt: &Attempt,
    material: &Material,
    generation: u64,
    took: Option<Duration>,
    routine: bool,
) {
    if routine {
        debug!(generation, verdict = %attempt.verdict, "verified again");
        return;
    }
    // A reload that was impossible is no fault once the handshake has shown the new certificate.
    let authorities_by = attempt.facts.proof().map(Proof::name);
    let without_reload = attempt.reload_error.as_ref().map(ToString::to_string);
    info!(event = "rotated", consumer,
        generation,
        verdict = %attempt.verdict,
        spiffe_id = material.spiffe_id().map(|id| ascii(&id.to_string())),
        names = material.other_names().as_deref().map(ascii),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = took.map(timing::milliseconds),
        reload_ms = attempt.reload.map(timing::milliseconds),
        verify_ms = timing::milliseconds(attempt.verify),
        authorities_by,
        without_reload,
        "{}",
        // Of an earlier run, a set is adopted and not published.
        if generation == 0 { "verified" } else { "rotated" }
    );
}
