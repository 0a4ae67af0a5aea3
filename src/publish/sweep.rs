//! Removes generations that nobody needs any more.
//!
//! Readers are not atomic: one may have opened `..data`, or read a path into a generation, before the swap. So a replaced
//! generation stays for a minute, and until its leaf has expired if a connection service file names it: libpq keeps such
//! paths for as long as a connection object lives.

use std::time::{Duration, SystemTime};

use super::Settings;
use super::directory::Directory;
use super::generation;
use super::generation_name::{PREFIX, is_unfinished};
use super::kept;
use crate::material::pem;

/// How long a replaced generation stays for readers that opened it before the swap, unless there are more than
/// `keep_at_most`. With `keep_until_expiry` the expiry of its leaf counts instead.
const GRACE: Duration = Duration::from_secs(60);

/// Removes each generation except the current one, the one before it, and, up to `keep_at_most` in all, those that readers
/// can still use. Returns the names of those that it tried to remove; a failed removal is repeated at the next sweep.
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
    // A generation that was partly removed earlier has replaced no other.
    let unfinished = generations.extract_if(.., |name| is_unfinished(name));
    unfinished.for_each(|name| generation::remove(directory, &name));
    // Names sort by time.
    generations.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept = 1 + usize::from(previous.is_some());
    for (age, name) in generations.iter().enumerate() {
        // The generation before is the last good set until the current one is verified.
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

/// The newest complete generation except `current`: the one that `current` has replaced, if any.
pub(super) fn newest_but(directory: &Directory, current: &str) -> Option<String> {
    let generations = directory.entries(PREFIX).unwrap_or_default().into_iter();
    generations.filter(|name| name != current && !is_unfinished(name)).max()
}

/// Removes every generation except those in `kept`, because there is no space.
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
    let Some(certificate) = kept::glance(directory, name, &settings.files.certificate().name)
    else {
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
