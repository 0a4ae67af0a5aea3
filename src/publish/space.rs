//! Whether the volume of the published directory has room for another set.

use std::path::Path;

/// What a set takes, in bytes: four files and a directory, at least one block each. A volume with more free space is not
/// full.
const A_SET: u64 = 32 * 1024;
/// How many inodes a set takes, with its directory and the link to it.
const FILES: u64 = 6;

/// Whether a process that is not root lacks the space to publish there. False for a volume that cannot be examined.
#[must_use]
pub fn is_full(directory: &Path) -> bool {
    let Ok(volume) = rustix::fs::statvfs(directory) else { return false };
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    // A file system that creates inodes on demand reports none.
    free < A_SET || (volume.f_files > 0 && volume.f_favail < FILES)
}
