//! The directory's lock: a file in it that only its owner can open. Anybody who may open the directory could hold the
//! directory's own `flock`.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::error::Error;
use super::links;
use super::ownership::{self, Owners, Reason};

const NAME: &str = "..lock";
const MODE: u32 = 0o600;
/// How often to try: where others may rename, they may remove the file while the lock is taken.
const TRIES: u32 = 16;

/// The lock. Dropping it releases it.
pub(super) struct Lock {
    file: OwnedFd,
    /// Whether it also keeps out other machines that have mounted the directory.
    is_everywhere: bool,
}

/// Takes the lock; `None` if there is no file and none can be created, so that nothing can be published, either.
pub(super) fn take(directory: &Directory) -> Result<Option<Lock>, Error> {
    for _ in 0..TRIES {
        let file = match open(directory) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(Error::Step { cause, .. }) if lets_nobody_publish(cause) => return Ok(None),
            Err(error) => return Err(error),
        };
        let operation = FlockOperation::NonBlockingLockExclusive;
        let (taken, is_everywhere) = match rustix::fs::flock(&file, operation) {
            // NFS only locks files that are open for writing, which the sandbox does not allow for existing files. The lock
            // of the directory itself is the kernel's, and not the server's (`flock(2)`, "NFS details").
            Err(Errno::BADF) => (rustix::fs::flock(directory, operation), false),
            taken => (taken, true),
        };
        let lock = Lock { file, is_everywhere };
        if !lock.is_in_place(directory) {
            continue;
        }
        return match taken {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Err(Error::Locked { directory: directory.path_of("") }),
            Err(cause) if gives_no_locks(cause) => {
                Err(Error::NoLocks { directory: directory.path_of(""), cause })
            }
            Err(cause) => Err(directory.step("lock", NAME, cause)),
        };
    }
    Err(directory.step("lock", NAME, Errno::AGAIN))
}

/// Whether a process holds the lock, as far as this user can see.
#[must_use]
pub fn is_in_use(directory: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(directory.join(NAME), flags, Mode::empty()) else {
        return false;
    };
    // Closing the descriptor releases it immediately.
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

impl Lock {
    /// Whether another machine that has mounted the directory is kept out, too.
    pub(super) fn is_everywhere(&self) -> bool {
        self.is_everywhere
    }

    /// Whether it is still the file that another instance would find, and nobody else could have opened it.
    pub(super) fn is_in_place(&self, directory: &Directory) -> bool {
        match (look(directory), rustix::fs::fstat(&self.file)) {
            (Ok(there), Ok(held)) => {
                (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
                    && judge(directory, &there).is_ok()
            }
            _ => false,
        }
    }
}

/// Opens the file, or creates it; `None` if it must be tried again. A file that others could have created is removed.
fn open(directory: &Directory) -> Result<Option<OwnedFd>, Error> {
    let failed = |action| move |cause| directory.step(action, NAME, cause);
    let found = match look(directory) {
        Ok(found) => found,
        Err(Errno::NOENT) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            // An open descriptor for writing would keep the volume from becoming read-only.
            return match open_with(directory, flags) {
                Ok(_) | Err(Errno::EXIST) => Ok(None),
                Err(cause) => Err(failed("create")(cause)),
            };
        }
        Err(cause) => return Err(failed("look at")(cause)),
    };
    if let Err(reason) = judge(directory, &found) {
        let found = ownership::at(directory.path_of(NAME))(reason);
        links::remove(directory, NAME, &found)?;
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match open_with(directory, flags) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(cause) => return Err(failed("open")(cause)),
    };
    let stat = rustix::fs::fstat(&file).map_err(failed("look at"))?;
    if judge(directory, &stat).is_err() {
        return Ok(None);
    }
    Ok(Some(file))
}

/// Judges the file. If it is not as pgsvid creates it, others may have opened it, and hold the lock. Kubernetes makes files
/// in a volume accessible to its group, and where others may rename, another file of pgsvid's can get its name. Such a file
/// is replaced even if its lock is held; the other pgsvid notices before it publishes.
fn judge(directory: &Directory, stat: &Stat) -> Result<(), Reason> {
    let ours = Owners::ours();
    if directory.is_exclusive() {
        // A backup may have made a hard link to it; the lock of its holder still counts.
        ours.judge_left(stat)?;
    } else {
        ours.judge_plain(stat)?;
        // The lock file is empty: a file with content has another purpose, and was given this name.
        if stat.st_size != 0 {
            return Err(Reason::Target);
        }
    }
    let mode = stat.st_mode & 0o7777;
    if mode == MODE { Ok(()) } else { Err(Reason::Mode(mode)) }
}

fn open_with(directory: &Directory, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(MODE);
    retry_on_intr(|| rustix::fs::openat(directory, NAME, flags | OFlags::CLOEXEC, mode))
}

fn look(directory: &Directory) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, NAME, AtFlags::SYMLINK_NOFOLLOW)
}

fn lets_nobody_publish(cause: Errno) -> bool {
    matches!(cause, Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::ACCESS | Errno::PERM)
}

/// The errors of kernel and file systems without locks: NFS without its lock daemon, FUSE, Lustre, 9p.
fn gives_no_locks(cause: Errno) -> bool {
    matches!(cause, Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL)
}
