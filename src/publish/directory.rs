//! The published directory: opened once, locked, and trusted only if nobody else can replace it or what is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::error::Error;
use super::ownership::{Owners, Reason};
use super::way::{Exposed, Trust, Way};
use super::{seam, way};
use crate::users;

/// How a directory is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    trust: Trust,
    /// Whether others may rename what is ours in it, or itself.
    exposed: bool,
}

impl Standing {
    fn of(way: &Way) -> Result<Self, Error> {
        let trust = way.judge(ours())?;
        if way.gives_more_rights() {
            return Err(Error::DefaultAcl { directory: way.path.clone() });
        }
        Ok(Self { trust, exposed: way.is_exposed() })
    }
}

/// The file of a generation that records whose the authorities are.
pub(super) const RECORD: &str = "..authorities";

/// An open directory.
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    standing: Standing,
    owners: Owners,
    /// What others may rename on the way to it, as it was before we have changed anything.
    found: Vec<Exposed>,
    /// The names of all files that pgsvid makes in a generation.
    names: Vec<String>,
}

impl Directory {
    /// Opens and judges the directory.
    pub(super) fn open(path: &Path, names: Vec<String>) -> Result<Self, Error> {
        let way = way::follow(path)?;
        let standing = Standing::of(&way)?;
        let owners = Owners::ours_or_roots();
        let (path, fd, found) = (path.to_owned(), way.fd, way.exposed);
        Ok(Self { path, fd, standing, owners, found, names })
    }

    /// Opens the directory for somebody who only looks: the judgement is handed back, not obeyed. Root looks at it as
    /// its owner does.
    pub(super) fn open_to_look(path: &Path) -> Result<(Self, Result<Trust, Error>), Error> {
        let way = way::follow(path)?;
        let (owner, ours) = (way.owner(), ours());
        // Many users may have the owner's number.
        let seen_by = if ours == 0 && users::nobody_here() != Some(owner) { owner } else { ours };
        let trust = match way.judge(seen_by) {
            Ok(_) if ours == 0 && owner != 0 => {
                Err(Error::WrongOwner { directory: path.to_owned(), owner, ours })
            }
            judged => judged,
        };
        let owners = Owners::of_directory(seen_by);
        let trust = match trust {
            Ok(_) if way.gives_more_rights() => {
                Err(Error::DefaultAcl { directory: path.to_owned() })
            }
            trust => trust,
        };
        let (path, fd) = (path.to_owned(), way.fd);
        let standing = Standing { trust: Trust::Exclusive, exposed: false };
        let (found, names) = (Vec::new(), Vec::new());
        Ok((Self { path, fd, standing, owners, found, names }, trust))
    }

    /// Whether another path has led to the same directory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (rustix::fs::fstat(&self.fd), rustix::fs::fstat(&other.fd)) {
            (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
            _ => false,
        }
    }

    pub(super) fn trust(&self) -> Trust {
        self.standing.trust
    }

    /// The users whose files and links count here.
    pub(super) fn owners(&self) -> Owners {
        self.owners
    }

    /// Whether the path still leads to the directory that is open, and it is judged as it was. An error says that others
    /// have come to be able to replace it.
    pub(super) fn is_in_place(&self) -> Result<bool, Error> {
        self.standing_now().map(|standing| standing == Some(self.standing))
    }

    /// The same before something is written: the judgement counts from now on.
    pub(super) fn judge_again(&mut self) -> Result<bool, Error> {
        let standing = self.standing_now()?;
        self.standing = standing.unwrap_or(self.standing);
        Ok(standing.is_some())
    }

    /// What others may rename on the way to it, the directory itself perhaps.
    pub(super) fn exposed(&self) -> Result<Vec<Exposed>, Error> {
        Ok(way::follow(&self.path)?.exposed)
    }

    /// The same when it was opened.
    pub(super) fn found(&self) -> &[Exposed] {
        &self.found
    }

    /// Whether others may rename what is ours in it, or itself.
    pub(super) fn is_exposed(&self) -> bool {
        self.standing.exposed
    }

    /// Whether nobody else can put anything into it, or another one into its place.
    pub(super) fn is_exclusive(&self) -> bool {
        !self.is_shared() && !self.is_exposed()
    }

    fn standing_now(&self) -> Result<Option<Standing>, Error> {
        let way = match way::follow(&self.path) {
            Ok(way) => way,
            Err(Error::Open { cause: Errno::NOENT | Errno::NOTDIR, .. }) => return Ok(None),
            // That it cannot be looked at for the moment says nothing of the path.
            // A sandbox keeps us out of another directory at the same path, which can be looked at.
            Err(error) => {
                let (there, here) = (rustix::fs::stat(&self.path), rustix::fs::fstat(&self.fd));
                return match (there, here) {
                    (Ok(there), Ok(here))
                        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) =>
                    {
                        Ok(None)
                    }
                    _ => Err(error),
                };
            }
        };
        let look = |fd| rustix::fs::fstat(fd).map_err(|cause| self.step("look at", "", cause));
        let (there, here) = (look(&way.fd)?, look(&self.fd)?);
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) {
            return Ok(None);
        }
        Standing::of(&way).map(Some)
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

    /// The names of all entries that begin with `prefix`, and are not another user's where others may write: there may
    /// be any number of those.
    pub(super) fn entries(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let failed = |cause| self.step("list", "", cause);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && name.starts_with(prefix)
                && rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| self.may_be_ours(&stat))
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Whether others may put things into it.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.standing.trust, Trust::Sticky { .. } | Trust::Mount { .. })
    }

    /// Judges a plain file at one of our names. Where nobody else can put one there, as a backup or a helper with another
    /// umask gives it, it stays until it is replaced.
    pub(super) fn judge_plain(&self, stat: &Stat) -> Result<(), Reason> {
        if self.is_exclusive() {
            self.owners.judge_left(stat)
        } else {
            self.owners.judge_plain(stat)
        }
    }

    /// Whether a file in a generation may be ours to remove. Where others may write, they may give one of our names to any
    /// directory of our user's, a database's perhaps.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        !self.is_shared()
            || [".", "..", RECORD].contains(&name)
            || self.names.iter().any(|ours| ours == name)
    }

    /// Whether something in it may be ours to remove. Where others may write, they may give any directory of theirs a
    /// name of ours, for us to empty it.
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
