//! Removes generations that nobody needs any more.
//!
//! Readers are not atomic: one may have opened `..data`, or read a path into a generation, before the swap.
//! So a replaced generation stays for a while, and until its leaf has expired where a connection service file
//! names it: libpq keeps such paths for as long as a connection object lives.

use std::time::{Duration, SystemTime};

use super::Settings;
use super::directory::Directory;
use super::generation::{self, PREFIX};
use super::kept;
use crate::material::pem;

/// How long a replaced generation stays at least, for readers that opened it before the swap.
const GRACE: Duration = Duration::from_secs(60);

/// Removes what is neither current, nor the one before, nor still of use. Returns what is gone for good.
pub(super) fn sweep(
    directory: &Directory,
    current: &str,
    previous: Option<&str>,
    settings: &Settings,
    now: SystemTime,
) -> Vec<String> {
    let mut removed = Vec::new();
    let Ok(mut generations) = directory.entries(PREFIX) else {
        return removed;
    };
    // Removed before, and not wholly: it has replaced nothing.
    let unfinished = generations.extract_if(.., |name| generation::is_unfinished(name));
    unfinished.for_each(|name| generation::remove(directory, &name));
    // Names sort by time.
    generations.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept = 1 + usize::from(previous.is_some());
    for (age, name) in generations.iter().enumerate() {
        // The one before is the last good set until the current one is verified.
        if name == current || Some(name.as_str()) == previous {
            continue;
        }
        let replaced_by = if age == 0 { current } else { &generations[age - 1] };
        if kept < settings.keep_at_most && is_of_use(directory, name, replaced_by, settings, now) {
            kept += 1;
        } else {
            generation::remove(directory, name);
            removed.push(name.clone());
        }
    }
    removed
}

/// Removes every generation but these: space has run out.
pub(super) fn all_but(directory: &Directory, kept: &[&str]) {
    for name in directory.entries(PREFIX).unwrap_or_default() {
        if !kept.contains(&name.as_str()) {
            generation::remove(directory, &name);
        }
    }
}

fn is_of_use(
    directory: &Directory,
    name: &str,
    replaced_by: &str,
    settings: &Settings,
    now: SystemTime,
) -> bool {
    let Some(certificate) = kept::glance(directory, name, &settings.certificate) else {
        return false;
    };
    if settings.keep_until_expiry {
        pem::decode_certificates(&certificate)
            .is_ok_and(|chain| chain.first().is_some_and(|leaf| now < leaf.not_after()))
    } else {
        generation::written_at(directory, replaced_by)
            .is_some_and(|replaced| now < replaced + GRACE)
    }
}
