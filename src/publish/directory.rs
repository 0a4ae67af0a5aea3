//! The published directory: opened once, locked, and trusted only if nobody else can replace it or what is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use super::error::Error;
use super::{seam, way};

/// Why a directory is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nobody but its owner may write to it.
    Exclusive,
    /// Others may write, but not replace what is ours: the sticky bit is set.
    Sticky {
        /// Its permission bits.
        mode: u32,
    },
    /// Others may write, but it is the root of a mount of its own, as a Kubernetes `emptyDir` is: those
    /// others are the pod's own containers.
    Mount {
        /// Its permission bits.
        mode: u32,
    },
    /// It lies in such a mount, where those others may rename it.
    WithinMount {
        /// The permission bits of the mount's root.
        mode: u32,
    },
}

/// An open directory.
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    trust: Trust,
}

impl Directory {
    /// Opens, locks and judges the directory. The lock is the directory's own: no file is left behind.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let way = way::follow(path)?;
        let trust = way.judge(ours())?;
        let directory = Self { path: path.to_owned(), fd: way.fd, trust };
        match rustix::fs::flock(&directory.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(directory),
            Err(Errno::WOULDBLOCK) => Err(Error::Locked { directory: path.to_owned() }),
            Err(cause) => Err(directory.step("lock", "", cause)),
        }
    }

    /// Opens the directory for somebody who only looks: the judgement is handed back, not obeyed. Root looks at it as
    /// its owner does.
    pub(super) fn open_to_look(path: &Path) -> Result<(Self, Result<Trust, Error>), Error> {
        let way = way::follow(path)?;
        let (owner, ours) = (way.owner(), ours());
        let trust = match way.judge(if ours == 0 { owner } else { ours }) {
            Ok(_) if ours == 0 && owner != 0 => {
                Err(Error::WrongOwner { directory: path.to_owned(), owner, ours })
            }
            judged => judged,
        };
        Ok((Self { path: path.to_owned(), fd: way.fd, trust: Trust::Exclusive }, trust))
    }

    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether the path still leads to the directory that is open. An error says that it does, but that others have
    /// come to be able to replace it.
    pub(super) fn is_in_place(&self) -> Result<bool, Error> {
        self.trust_now().map(|trust| trust.is_some())
    }

    /// The same before something is written: the judgement counts from now on.
    pub(super) fn judge_again(&mut self) -> Result<bool, Error> {
        let trust = self.trust_now()?;
        self.trust = trust.unwrap_or(self.trust);
        Ok(trust.is_some())
    }

    fn trust_now(&self) -> Result<Option<Trust>, Error> {
        let way = match way::follow(&self.path) {
            Ok(way) => way,
            // That the kernel lacks something for the moment says nothing of the path.
            Err(error @ Error::Open { cause: Errno::MFILE | Errno::NFILE | Errno::NOMEM, .. }) => {
                return Err(error);
            }
            Err(_) => return Ok(None),
        };
        let (Ok(there), Ok(here)) = (rustix::fs::fstat(&way.fd), rustix::fs::fstat(&self.fd))
        else {
            return Ok(None);
        };
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) {
            return Ok(None);
        }
        way.judge(ours()).map(Some)
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

    /// The names of all entries that begin with `prefix`.
    pub(super) fn entries(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let listing = rustix::fs::Dir::read_from(&self.fd)
            .and_then(|listing| {
                listing
                    .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(|cause| self.step("list", "", cause))?;
        Ok(listing
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(prefix) && name != "." && name != "..")
            .collect())
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
