//! The published directory: opened once, locked, and trusted only if nobody else can replace what is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use super::error::Error;
use super::seam;

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
        let fd = open(path)?;
        let trust = judge(path, &fd)?;
        let directory = Self { path: path.to_owned(), fd, trust };
        match rustix::fs::flock(&directory.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(directory),
            Err(Errno::WOULDBLOCK) => Err(Error::Locked { directory: path.to_owned() }),
            Err(cause) => Err(directory.step("lock", "", cause)),
        }
    }

    /// Opens the directory for somebody who only looks: the judgement is handed back, not obeyed.
    pub(super) fn open_to_look(path: &Path) -> Result<(Self, Result<Trust, Error>), Error> {
        let fd = open(path)?;
        let trust = judge(path, &fd);
        Ok((Self { path: path.to_owned(), fd, trust: Trust::Exclusive }, trust))
    }

    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether the path still leads to the directory that is open.
    pub(super) fn is_in_place(&self) -> bool {
        let (Ok(there), Ok(here)) = (rustix::fs::stat(&self.path), rustix::fs::fstat(&self.fd))
        else {
            return false;
        };
        (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
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

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
        .map_err(|cause| Error::Open { directory: path.to_owned(), cause })
}

/// The owner of a directory, and whoever may write to it, can replace what is in it.
fn judge(path: &Path, fd: &OwnedFd) -> Result<Trust, Error> {
    let open = |cause| Error::Open { directory: path.to_owned(), cause };
    let stat =
        rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map_err(open)?;
    let ours = rustix::process::geteuid().as_raw();
    if stat.stx_uid != 0 && stat.stx_uid != ours {
        return Err(Error::WrongOwner { directory: path.to_owned(), owner: stat.stx_uid, ours });
    }
    let mode = u32::from(stat.stx_mode) & 0o7777;
    if mode & 0o022 == 0 {
        Ok(Trust::Exclusive)
    } else if mode & 0o1000 != 0 {
        Ok(Trust::Sticky { mode })
    } else if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        Ok(Trust::Mount { mode })
    } else {
        Err(Error::WritableByOthers { directory: path.to_owned(), mode })
    }
}
