//! What is said of a publication.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::material::Material;
use crate::publish::Disowned;
use crate::timing;

/// What others could have put into the published directory.
pub fn disowned(found: &[Disowned]) {
    for Disowned { found, removed } in found {
        let path = found.path.display();
        if *removed {
            warn!(
                %path,
                cause = %found.reason,
                fix = "unless pgsvid ran as another user before: let nobody else write to the directory, or mount it \
                       where nobody else does",
                "removed from the published directory what others could have put there"
            );
        } else if found.is_roots() {
            warn!(%path, cause = %found.reason, "the published set is root's: it stays until there is one of our own");
        } else {
            warn!(
                %path,
                cause = %found.reason,
                fix = "let nobody else write to the directory, or mount it where nobody else does",
                "the published set may be an older one: it stays, and counts for nothing, until the agent has sent one"
            );
        }
    }
}

/// The line of a publication where no server takes part.
pub(super) fn published(material: &Material, generation: u64, took: Duration) {
    info!(
        generation,
        spiffe_id = %material.spiffe_id(),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = timing::milliseconds(took),
        "published"
    );
}

/// The agent changes the identity without end.
pub(super) fn paced(every: Duration) {
    warn!(
        every = %humantime::format_duration(every),
        fix = "see the agent's log for why it issues so many SVIDs",
        "the agent changes the identity without end: the newest is published now and then, a changed bundle at once"
    );
}

pub(super) fn publication_failed(text: &str, delay: Duration, repeated: bool) {
    let next = format!("what was published stays; retrying in {}", timing::shortly(delay));
    if repeated {
        debug!(error = text, next, "still cannot publish the new identity");
    } else {
        error!(error = text, next, "cannot publish the new identity");
    }
}
