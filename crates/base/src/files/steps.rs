//! The single steps of a path. An open descriptor still refers to the same file if the path is changed later.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

/// The names of a path in order, with `..` among them.
#[must_use]
pub fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// The directory `/`.
pub fn root() -> Result<(OwnedFd, Statx), Errno> {
    let root = step(CWD, Path::new("/"), OFlags::DIRECTORY)?;
    let stat = look(&root)?;
    Ok((root, stat))
}

/// Opens an entry of a directory, and follows no link. `O_PATH` only needs permission to pass the directories above, and no
/// permission of the sandbox.
pub fn step(within: impl AsFd, name: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
    retry_on_intr(|| rustix::fs::openat(&within, name, flags, Mode::empty()))
}

/// The attributes of an opened entry.
pub fn look(fd: &OwnedFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}
