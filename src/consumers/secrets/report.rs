//! The log lines about Secrets: each change once.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::settings::Target;
use crate::consumers::{Attempt, Publication};
use crate::finding::Finding;
use crate::text::{ascii, shown};
use crate::timing;
use crate::verify::Verdict;

/// Each Secret holds the published set, or another replica sees to that. `routine` means that nothing is new.
pub(super) fn handed_over(
    consumer: Option<&str>,
    attempt: &Attempt,
    publication: &Publication,
    secrets: &[Target],
    took: Option<Duration>,
    routine: bool,
) {
    let Publication { material, generation, .. } = publication;
    if routine {
        debug!(generation, verdict = %attempt.verdict, "read the Secrets again");
        return;
    }
    if attempt.verdict == Verdict::Standby {
        info!(
            event = "secrets-standby",
            consumer,
            generation,
            holder = ascii(&attempt.facts.address),
            "another replica writes the Secrets"
        );
        return;
    }
    let names: Vec<String> = secrets.iter().map(Target::shown).collect();
    info!(
        event = "secrets-handed-over",
        consumer,
        generation,
        spiffe_id = material.spiffe_id().map(|id| ascii(&id.to_string())),
        names = material.other_names().as_deref().map(ascii),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        secrets = names.join(", "),
        publish_ms = took.map(timing::milliseconds),
        write_ms = timing::milliseconds(attempt.verify),
        "the Secrets hold the set"
    );
}

/// A Secret was created.
pub(super) fn created(target: &Target) {
    info!(event = "secret-created", secret = target.shown(), "the Secret is created");
}

/// A Secret that held the set was changed by somebody, and is as it was.
pub(super) fn restored(target: &Target, fields: &[String], by: &[String], is_own: bool) {
    let by = match (is_own, by) {
        (true, _) => "another pgsvid",
        (false, []) => "not recorded",
        (false, by) => &by.join(", "),
    };
    warn!(
        event = "secret-restored",
        secret = target.shown(),
        fields = shown(&fields.join(", ")),
        by = shown(by),
        "somebody has changed the Secret; it is restored"
    );
}

/// A Secret that held the set was deleted by somebody, and was created again.
pub(super) fn created_again(target: &Target) {
    warn!(
        event = "secret-restored",
        secret = target.shown(),
        "somebody has deleted the Secret; it is created again"
    );
}

/// A Secret is changed again and again.
pub(super) fn contested(found: &Finding) {
    let Finding { code, text, cause, fix, .. } = found;
    warn!(event = "secret-contested", %code, cause, fix, "{text}; it is restored with pauses");
}

/// Changes of a Secret are not noticed at once.
pub(super) fn unwatched(found: &Finding) {
    let Finding { code, text, cause, fix, command, .. } = found;
    warn!(event = "secret-unwatched", %code, cause, fix, command, "{text}; it is read each half a minute");
}
