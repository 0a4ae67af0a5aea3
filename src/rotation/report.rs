//! The log lines about a publication.

use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::finding::Finding;
use crate::material::Material;
use crate::publish::{self, Difference, Disowned, Trust};
use crate::text::ascii;
use crate::timing;

/// Reports what others could have put into the published directory.
pub fn disowned(found: &[Disowned]) {
    for Disowned { found, removed } in found {
        let path = found.path.display();
        if *removed {
            warn!(event = "foreign-files-removed",
                %path,
                cause = %found.reason,
                fix = "unless pgsvid ran as another user before: let nobody else write to the directory, or mount it \
                       where nobody else can write",
                "removed from the published directory what others could have put there"
            );
        } else if found.is_roots() {
            warn!(event = "foreign-set-kept", %path, cause = %found.reason, "the published set belongs to root: it stays until pgsvid publishes its own");
        } else {
            warn!(event = "older-set-kept",
                %path,
                cause = %found.reason,
                fix = "let nobody else write to the directory, or mount it where nobody else can write",
                "the published set may be an older one: it stays, but does not count, until the agent has sent one"
            );
        }
    }
}

/// Reports that another user has filled the directory with entries.
pub(super) fn crowded(directory: &Path) {
    let directory = directory.display();
    warn!(event = "directory-crowded",
        %directory,
        cause = "another user has made more than 10,000 entries there; pgsvid does not examine all of them",
        fix = "remove them as root (ls -lU shows their owners), and let nobody else write to the directory",
        "another user has filled the published directory with entries"
    );
}

/// Reports if the lock had to be taken again.
pub(super) fn lock(kept: &Result<bool, publish::Error>) {
    if let Ok(true) = kept {
        warn!(
            event = "lock-lost",
            fix = "leave ..lock in the published directory alone: it keeps another pgsvid from publishing there",
            "the lock of the published directory was removed, replaced or opened to others; pgsvid has taken it again"
        );
    }
}

/// Reports notable facts about the published directory: what others can do there.
pub fn trust(directory: &Path, trust: Trust, exposed: bool) {
    let directory = directory.display();
    match trust {
        Trust::Exclusive => {}
        Trust::Sticky { mode } => {
            let mode = format!("{mode:04o}");
            warn!(event = "directory-shared", %directory, mode, "others may create files in the directory");
            if exposed {
                warn!(event = "directory-shared",
                    %directory,
                    "others may rename the directory; accepted: a mount such as an emptyDir belongs to this pod alone"
                );
            }
        }
        Trust::Mount { mode } => {
            warn!(event = "directory-shared",
                %directory,
                mode = format!("{mode:04o}"),
                "others may write to the directory; accepted: a mount such as an emptyDir belongs to this pod alone"
            );
        }
        Trust::WithinMount { mode } => {
            warn!(event = "directory-shared",
                %directory,
                mode = format!("{mode:04o}"),
                "others may rename the directory; accepted: a mount such as an emptyDir belongs to this pod alone"
            );
        }
    }
}

/// Reports a publication if no server is configured.
pub(super) fn published(material: &Material, generation: u64, took: Duration) {
    info!(
        event = "published",
        generation,
        spiffe_id = material.spiffe_id().map(|id| ascii(&id.to_string())),
        names = material.other_names().as_deref().map(ascii),
        serial = material.leaf().serial().short(),
        not_after = timing::utc(material.not_after()),
        publish_ms = timing::milliseconds(took),
        "published"
    );
}

/// Reports that connections which a consumer makes fail, because it opens the source's own files for each.
pub(super) fn unusable_in_place(consumer: Option<&str>, found: &Finding) {
    error!(
        event = "files-unusable-in-place",
        consumer,
        code = %found.code,
        cause = found.cause,
        fix = found.advice(),
        command = found.command,
        "{}",
        found.text
    );
}

/// Reports that the order of a change of the authorities was not kept.
pub(super) fn order_broken(found: &Finding, material: &Material, generation: u64) {
    warn!(
        event = "authority-order-broken",
        code = %found.code,
        generation,
        serial = material.leaf().serial().short(),
        cause = found.why(),
        fix = found.advice(),
        "the newest leaf is of an authority that servers may not have loaded yet"
    );
}

/// Reports what somebody has changed, without names if it is unchanged by now.
pub(super) fn changed(difference: Option<&Difference>, when: &str) {
    let path = difference.map(|difference| difference.path.display());
    let change = difference.map(|difference| difference.what.as_str());
    warn!(
        event = "files-changed",
        path = path.map(tracing::field::display),
        change,
        "the published files, or their directory, were changed by somebody else{when}; publishing again"
    );
}

/// Reports that the agent changes the identity again and again.
pub(super) fn paced(every: Duration) {
    warn!(event = "identities-without-end",
        every = %humantime::format_duration(every),
        fix = "see the agent's log for why it issues so many SVIDs",
        "the identity keeps changing: pgsvid publishes the newest at intervals; a changed bundle does not wait for that"
    );
}

/// Reports that the files of `files.extra_authorities` change again and again.
pub(super) fn authorities_paced() {
    warn!(
        event = "extra-authorities-without-end",
        fix = "see which program writes the files of files.extra_authorities, and who else may write them",
        "the extra authorities keep changing: pgsvid publishes their next changes with pauses of five seconds to a minute"
    );
}

pub(super) fn publication_failed(
    text: &str,
    remedy: Option<&Finding>,
    delay: Duration,
    repeated: bool,
) {
    let fix = remedy.and_then(Finding::advice);
    let command = remedy.and_then(|remedy| remedy.command.as_deref());
    let next = format!("the published files stay; retrying in {}", timing::shortly(delay));
    if repeated {
        debug!(error = text, next, "still cannot publish the new identity");
    } else {
        error!(
            event = "publication-failed",
            error = text,
            fix,
            command,
            next,
            "cannot publish the new identity"
        );
    }
}
