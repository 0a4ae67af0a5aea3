//! The directory's lock: a file in it that only its owner can open. The directory's own `flock` would be anybody's who may
//! open the directory.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::error::Error;
use super::links;
use super::ownership::{self, Owners, Reason};

const NAME: &str = "..lock";
const MODE: u32 = 0o600;
/// Others may remove it while it is taken, where they may rename.
const TRIES: u32 = 16;

/// It is released with the value.
pub(super) struct Lock {
    file: OwnedFd,
    /// Whether it keeps other machines out as well, where they have the directory too.
    is_everywhere: bool,
}

/// Takes the lock; `None` if there is none and none can be made, so that nothing can be published either.
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
            // NFS locks only what is open for writing, which the sandbox allows of no file that is there. The directory's
            // own is the kernel's, and no server's (`flock(2)`, "NFS details").
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

impl Lock {
    /// Whether another machine that has the directory is kept out as well.
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

/// Opens the file, or makes it; `None` if it has to be tried again. What is not ours is removed.
fn open(directory: &Directory) -> Result<Option<OwnedFd>, Error> {
    let failed = |action| move |cause| directory.step(action, NAME, cause);
    let found = match look(directory) {
        Ok(found) => found,
        Err(Errno::NOENT) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            // Held open for writing, it would keep the volume from becoming read-only.
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

/// Judges the file. If it is not as we make it, others may have opened it, and hold it: Kubernetes opens what is in a volume
/// to its group, and where others may rename, another file of ours can get its name. So that one is replaced, whoever holds
/// it; a pgsvid notices before it publishes.
fn judge(directory: &Directory, stat: &Stat) -> Result<(), Reason> {
    let ours = Owners::ours();
    if directory.is_exclusive() {
        // A backup may have linked it, and its holder is to be respected.
        ours.judge_left(stat)?;
    } else {
        ours.judge_plain(stat)?;
        // Ours is empty: what has content is meant for something else, and was given the name.
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

/// What kernel and file systems say where there are no locks: of NFS without its lock daemon, of FUSE, Lustre, 9p.
fn gives_no_locks(cause: Errno) -> bool {
    matches!(cause, Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL)
}
