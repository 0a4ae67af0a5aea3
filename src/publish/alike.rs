//! Sets that a handshake cannot tell from one another: it shows the leaf, and of the authorities their names. Where only an
//! authority has gone whose name another one has, a PostgreSQL that serves the former set looks as if it served the new one.
//! That is kept on disk until a reload has made it certain, for a process that knows of no former set.

use std::collections::BTreeSet;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::error::Error;
use super::generation::Generation;
use super::{Publisher, seam};
use crate::material::{Certificate, Fingerprint, Material};

/// The file that says that it is not certain. No configured name begins so.
const UNREAD: &str = "..unread";

/// What a handshake shows of a set: the leaf, and the names of the authorities.
#[derive(PartialEq, Eq)]
pub(super) struct Shown {
    leaf: Fingerprint,
    authorities: BTreeSet<Vec<u8>>,
}

impl Shown {
    pub(super) fn of(material: &Material, extra_authorities: &[Certificate]) -> Self {
        let authorities = material.authorities().chain(extra_authorities);
        let authorities = authorities.map(|authority| authority.subject().to_vec()).collect();
        Self { leaf: material.leaf().fingerprint(), authorities }
    }

    /// Whether the leaf alone tells one from the other.
    pub(super) fn is_told_by_leaf(&self, other: &Self) -> bool {
        self.leaf != other.leaf
    }
}

impl Publisher {
    /// Whether a handshake would show the same of the published set, though its bundle is another one.
    pub(super) fn looks_the_same(&self, shown: &Shown, next: &Generation) -> bool {
        let differs = |current| !next.has_same(current, &self.settings.bundle);
        self.shown.as_ref() == Some(shown) && self.current.as_ref().is_some_and(differs)
    }

    /// Whether a handshake cannot tell if PostgreSQL has read the published set or one before it.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        is_noted(&self.directory)
    }

    /// PostgreSQL has read the published set for certain.
    pub fn note_read(&self) {
        forget(&self.directory);
    }
}

/// Keeps on disk that the set which is published next looks like the former one.
pub(super) fn note(directory: &Directory) -> Result<(), Error> {
    seam::step();
    // As every other file, which is what the sandbox lets through.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o600);
    match rustix::fs::openat(directory, UNREAD, flags | OFlags::CLOEXEC, mode) {
        Ok(_) => directory.sync(),
        Err(Errno::EXIST) => Ok(()),
        Err(cause) => Err(directory.step("create", UNREAD, cause)),
    }
}

/// It is certain now. Where the file cannot be removed, the next process asks for a reload again.
pub(super) fn forget(directory: &Directory) {
    seam::step();
    let _ = rustix::fs::unlinkat(directory, UNREAD, AtFlags::empty());
}

/// Whether that is kept on disk, as far as can be seen.
fn is_noted(directory: &Directory) -> bool {
    let found = rustix::fs::statat(directory, UNREAD, AtFlags::SYMLINK_NOFOLLOW);
    found.map_or_else(|error| error != Errno::NOENT, |_| true)
}
