//! Removes generations that nobody needs any more.
//!
//! Readers are not atomic: one may have opened `..data`, or read a path into a generation, before the swap.
//! So a replaced generation stays for a while, and until its leaf has expired where a connection service file
//! names it: libpq keeps such paths for as long as a connection object lives.

use std::time::{Duration, SystemTime};

use super::Settings;
use super::directory::Directory;
use super::generation::{self, PREFIX};
use crate::material::pem;

/// How long a replaced generation stays at least, for readers that opened it before the swap.
const GRACE: Duration = Duration::from_secs(60);

/// Removes what is neither current, nor the one before, nor still of use.
pub(super) fn sweep(directory: &Directory, current: &str, settings: &Settings, now: SystemTime) {
    let Ok(mut generations) = directory.entries(PREFIX) else {
        return;
    };
    generations.retain(|name| name != current);
    // Names sort by time. The newest of the replaced ones is the last good set until the new one is verified.
    generations.sort_unstable_by(|a, b| b.cmp(a));
    for (age, name) in generations.iter().enumerate().skip(1) {
        // The current one and the one before count, too.
        let room = age + 1 < settings.keep_at_most;
        let replaced_by = &generations[age - 1];
        if !room || !is_of_use(directory, name, replaced_by, settings, now) {
            generation::remove(directory, name);
        }
    }
}

/// Removes every generation but one: space has run out.
pub(super) fn all_but(directory: &Directory, current: Option<&str>) {
    for name in directory.entries(PREFIX).unwrap_or_default() {
        if Some(name.as_str()) != current {
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
    let Some(certificate) = generation::read_one(directory, name, &settings.certificate) else {
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
