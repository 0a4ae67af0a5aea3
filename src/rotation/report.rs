//! What is said of a publication.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::material::Material;
use crate::publish::{self, Disowned, Publisher, Trust};
use crate::text::ascii;
use crate::timing;

/// What others could have put into the published directory.
pub fn disowned(found: &[Disowned]) {
    for Disowned { found, removed } in found {
        let path = found.path.display();
        if *removed {
            warn!(event = "foreign-files-removed",
                %path,
                cause = %found.reason,
                fix = "unless pgsvid ran as another user before: let nobody else write to the directory, or mount it \
                       where nobody else does",
                "removed from the published directory what others could have put there"
            );
        } else if found.is_roots() {
            warn!(event = "foreign-set-kept", %path, cause = %found.reason, "the published set is root's: it stays until there is one of our own");
        } else {
            warn!(event = "older-set-kept",
                %path,
                cause = %found.reason,
                fix = "let nobody else write to the directory, or mount it where nobody else does",
                "the published set may be an older one: it stays, and counts for nothing, until the agent has sent one"
            );
        }
    }
}

/// That the lock had to be taken again, if so.
pub(super) fn lock(kept: &Result<bool, publish::Error>) {
    if let Ok(true) = kept {
        warn!(
            event = "lock-lost",
            fix = "leave ..lock in the published directory alone: it keeps another pgsvid from publishing there",
            "the lock of the published directory was removed, replaced or opened to others; it is taken again"
        );
    }
}

/// What is worth knowing about the published directory: what others can do there.
pub fn trust(publisher: &Publisher) {
    let directory = publisher.directory().display();
    match publisher.trust() {
        Trust::Exclusive => {}
        Trust::Sticky { mode } => {
            let mode = format!("{mode:04o}");
            warn!(event = "directory-shared", %directory, mode, "others may create files in the directory");
            if publisher.is_exposed() {
                warn!(event = "directory-shared",
                    %directory,
                    "others may rename the directory; taken because it lies in a mount of its own, as an emptyDir is"
                );
            }
        }
        Trust::Mount { mode } => {
            warn!(event = "directory-shared",
                %directory,
                mode = format!("{mode:04o}"),
                "others may write to the directory; taken because it is a mount of its own, as an emptyDir is"
            );
        }
        Trust::WithinMount { mode } => {
            warn!(event = "directory-shared",
                %directory,
                mode = format!("{mode:04o}"),
                "others may rename the directory; taken because it lies in a mount of its own, as an emptyDir is"
            );
        }
    }
}

/// The line of a publication where no server takes part.
pub(super) fn published(material: &Material, generation: u64, took: Duration) {
    info!(
        event = "published",
        generation,
        spiffe_id = ascii(&material.spiffe_id().to_string()),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = timing::milliseconds(took),
        "published"
    );
}

/// The agent changes the identity without end.
pub(super) fn paced(every: Duration) {
    warn!(event = "identities-without-end",
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
        error!(event = "publication-failed", error = text, next, "cannot publish the new identity");
    }
}
