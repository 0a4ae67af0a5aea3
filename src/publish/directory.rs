//! The published directory: opened once, locked, and trusted only if nobody else can replace it or its contents.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::directory_path::{DirectoryPath, Exposed, Trust};
use super::error::{Error, WRITE_TO};
use super::ownership::{Owners, Reason};
use super::{directory_path, seam};
use crate::users;

/// The judgement about a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DirectoryTrust {
    trust: Trust,
    /// Whether others may rename the files of pgsvid in it, or the directory itself.
    exposed: bool,
}

impl DirectoryTrust {
    fn of(opened: &DirectoryPath) -> Result<Self, Error> {
        let trust = opened.judge(ours())?;
        if opened.gives_more_rights() {
            return Err(Error::DefaultAcl { directory: opened.path.clone() });
        }
        Ok(Self { trust, exposed: opened.is_exposed() })
    }
}

/// The file of a generation that records which set it is, and where its authorities come from.
pub(super) const RECORD: &str = "..set";

/// How many entries of other users are skipped in one listing: in a shared directory they may create any number of entries.
const MOST_FOREIGN: usize = 10_000;

/// An open directory.
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    standing: DirectoryTrust,
    owners: Owners,
    /// The entries on the path to it that others may rename, as they were when it was opened.
    found: Vec<Exposed>,
    /// The names of all files that pgsvid makes in a generation.
    names: Vec<String>,
    /// pgsvid's own entries that a listing has shown or that it has created: a listing that is cut short may not contain them.
    known: RefCell<BTreeSet<String>>,
    /// `None` if no listing was cut short, `Some(false)` if one was and this is not reported yet, `Some(true)` once it is
    /// reported.
    crowded: Cell<Option<bool>>,
}

impl Directory {
    /// Opens and judges the directory.
    pub(super) fn open(path: &Path, names: Vec<String>) -> Result<Self, Error> {
        let opened = directory_path::follow(path)?;
        let standing = DirectoryTrust::of(&opened)?;
        let owners = Owners::ours_or_roots();
        let (path, fd, found) = (path.to_owned(), opened.fd, opened.exposed);
        let (known, crowded) = (RefCell::default(), Cell::default());
        Ok(Self { path, fd, standing, owners, found, names, known, crowded })
    }

    /// Opens the directory for a reader: the judgement is returned, and not enforced. Root examines it from its owner's point
    /// of view.
    pub(super) fn open_to_look(path: &Path) -> Result<(Self, Result<Trust, Error>), Error> {
        let opened = directory_path::follow(path)?;
        let (owner, ours) = (opened.owner(), ours());
        // If the owner's ID stands for all users without an ID in this user namespace, many users may have it: then root judges
        // as root.
        let seen_by = if ours == 0 && users::nobody_here() != Some(owner) { owner } else { ours };
        let trust = match opened.judge(seen_by) {
            Ok(_) if ours == 0 && owner != 0 => {
                Err(Error::WrongOwner { directory: path.to_owned(), owner, ours })
            }
            judged => judged,
        };
        let owners = Owners::of_directory(seen_by);
        let trust = match trust {
            Ok(_) if opened.gives_more_rights() => {
                Err(Error::DefaultAcl { directory: path.to_owned() })
            }
            trust => trust,
        };
        let (path, fd) = (path.to_owned(), opened.fd);
        let standing = DirectoryTrust { trust: Trust::Exclusive, exposed: false };
        let (found, names) = (Vec::new(), Vec::new());
        let (known, crowded) = (RefCell::default(), Cell::default());
        Ok((Self { path, fd, standing, owners, found, names, known, crowded }, trust))
    }

    /// Whether another path has led to the same directory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (rustix::fs::fstat(&self.fd), rustix::fs::fstat(&other.fd)) {
            (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
            _ => false,
        }
    }

    /// Fails if this process may not create files in it, or if its volume is read-only.
    pub(super) fn judge_writable(&self) -> Result<(), Error> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        // Without flags, because the sandbox knows only the call that has none. The real user is the effective one.
        match rustix::fs::accessat(&self.fd, ".", access, AtFlags::empty()) {
            Err(cause @ (Errno::ACCESS | Errno::ROFS)) => {
                Err(Error::Step { action: WRITE_TO, path: self.path.clone(), cause })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn trust(&self) -> Trust {
        self.standing.trust
    }

    /// The users whose files and links are accepted here.
    pub(super) fn owners(&self) -> Owners {
        self.owners
    }

    /// Whether the path still leads to the open directory, with the same judgement. An error means that others are now able
    /// to replace it.
    pub(super) fn is_in_place(&self) -> Result<bool, Error> {
        self.standing_now().map(|standing| standing == Some(self.standing))
    }

    /// Judges the directory again before something is written, and keeps the new judgement. False if the path no longer
    /// leads to the open directory; an error if others are now able to replace it.
    pub(super) fn judge_again(&mut self) -> Result<bool, Error> {
        let standing = self.standing_now()?;
        self.standing = standing.unwrap_or(self.standing);
        Ok(standing.is_some())
    }

    /// What others may rename on the path to it, which may include the directory itself.
    pub(super) fn exposed(&self) -> Result<Vec<Exposed>, Error> {
        Ok(directory_path::follow(&self.path)?.exposed)
    }

    /// What others could rename on the path when the directory was opened.
    pub(super) fn found(&self) -> &[Exposed] {
        &self.found
    }

    /// Whether others may rename the files of pgsvid in it, or the directory itself.
    pub(super) fn is_exposed(&self) -> bool {
        self.standing.exposed
    }

    /// Whether nobody else can create anything in it, or replace it.
    pub(super) fn is_exclusive(&self) -> bool {
        !self.is_shared() && !self.is_exposed()
    }

    fn standing_now(&self) -> Result<Option<DirectoryTrust>, Error> {
        let opened = match directory_path::follow(&self.path) {
            Ok(opened) => opened,
            Err(Error::Open { cause: Errno::NOENT | Errno::NOTDIR, .. }) => return Ok(None),
            // A failure to open the path may be temporary, and then says nothing about the path. The sandbox forbids opening
            // another directory at the same path, but allows `stat` on it.
            Err(error) => {
                let (at_path, open) = (rustix::fs::stat(&self.path), rustix::fs::fstat(&self.fd));
                return match (at_path, open) {
                    (Ok(at_path), Ok(open))
                        if (at_path.st_dev, at_path.st_ino) != (open.st_dev, open.st_ino) =>
                    {
                        Ok(None)
                    }
                    _ => Err(error),
                };
            }
        };
        let look = |fd| rustix::fs::fstat(fd).map_err(|cause| self.step("look at", "", cause));
        let (at_path, open) = (look(&opened.fd)?, look(&self.fd)?);
        if (at_path.st_dev, at_path.st_ino) != (open.st_dev, open.st_ino) {
            return Ok(None);
        }
        DirectoryTrust::of(&opened).map(Some)
    }

    /// Opens the directory of a generation. Follows no link.
    pub(super) fn open_generation(&self, generation: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(self, generation, flags, Mode::empty()))
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        seam::step();
        retry_on_intr(|| rustix::fs::fsync(&self.fd)).map_err(|cause| self.step("sync", "", cause))
    }

    /// Path of an entry, for messages.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    pub(super) fn step(&self, action: &'static str, name: &str, cause: Errno) -> Error {
        Error::Step { action, path: self.path_of(name), cause }
    }

    /// The names of all entries that begin with `prefix`. In a shared directory, where others may create millions of entries,
    /// entries of other users are left out. After [`MOST_FOREIGN`] of those the listing ends, and the known ones of pgsvid's own
    /// entries are added.
    pub(super) fn entries(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let failed = |cause| self.step("list", "", cause);
        let mut known = self.known.borrow_mut();
        let mut foreign = 0;
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_str() {
                Ok(name) if name.starts_with(prefix) && self.has(name) => {
                    known.insert(name.to_owned());
                }
                _ => foreign += 1,
            }
            if foreign > MOST_FOREIGN && self.is_shared() {
                self.crowded.set(self.crowded.get().or(Some(false)));
                break;
            }
        }
        known.retain(|name| self.has(name));
        Ok(known.iter().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    /// Records an entry that pgsvid is about to create.
    pub(super) fn know(&self, name: &str) {
        self.known.borrow_mut().insert(name.to_owned());
    }

    /// Whether others have put so many entries there that a listing was cut short, and this is the first call since.
    pub(super) fn take_crowded(&self) -> bool {
        let is_reported = self.crowded.get();
        self.crowded.set(is_reported.map(|_| true));
        is_reported == Some(false)
    }

    fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| self.may_be_ours(&stat))
    }

    /// Whether others may create files in it.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.standing.trust, Trust::Sticky { .. } | Trust::Mount { .. })
    }

    /// Judges a plain file at one of pgsvid's names. If nobody else can create files there, a file of a backup or of a helper
    /// with another umask stays until it is replaced.
    pub(super) fn judge_plain(&self, stat: &Stat) -> Result<(), Reason> {
        if self.is_exclusive() {
            self.owners.judge_left(stat)
        } else {
            self.owners.judge_plain(stat)
        }
    }

    /// Whether an entry of this name belongs in a generation. Where others may write, they can rename any directory of this
    /// process's user, such as a database's, to the name of a generation; pgsvid must not empty it.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        !self.is_shared()
            || [".", "..", RECORD].contains(&name)
            || self.names.iter().any(|ours| ours == name)
    }

    /// Whether pgsvid may remove an entry. Where others may write, they can give one of its names to any directory of their
    /// own, so that pgsvid would empty it.
    pub(super) fn may_be_ours(&self, stat: &Stat) -> bool {
        !self.is_shared() || self.owners.judge_owner(stat.st_uid).is_ok()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn ours() -> u32 {
    rustix::process::geteuid().as_raw()
}
