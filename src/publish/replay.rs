//! Whether somebody has put an older set back. In a directory where others may rename, they can give an earlier generation,
//! or an earlier `..data`, its old name again: it is pgsvid's own, and valid, but may contain an authority that has been
//! removed since.
//!
//! A rename needs no ownership, but it sets the time of change of what is renamed (`inode(7)`, ctime), which only the kernel
//! can set. pgsvid renames a complete generation once, to its final name, and after that creates and renames the link to it;
//! it renames neither of them again while the generation is current. What root changes afterwards, as Kubernetes does when
//! it gives a volume to its group, it also changes in the files.
//!
//! The same holds for the directory, if others may rename that. A rename sets no time of modification (tried on ext4, tmpfs and
//! overlayfs), and creating an entry in the directory sets both times. So a directory whose time of change is later than its
//! time of modification and later than its set was renamed, or given another owner or mode. With the sticky bit, others may
//! hide this by creating an entry.

use std::time::SystemTime;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::directory::Directory;
use super::kept::Kept;
use super::ownership::{self, NotOurs, Reason};
use super::{generation_name, links};

/// A change counts if it is later than the publication by more than this, in seconds: longer than pgsvid takes between two of
/// its own steps.
const LATER: i64 = 2;

/// How far the clocks of the file system and of this machine may differ, in seconds.
const APART: i64 = 30;

/// The first part of the current set, or of the path to it, that was renamed after the set was published, if any.
pub(super) fn renamed(
    directory: &Directory,
    name: &str,
    kept: &Kept,
) -> Result<Option<NotOurs>, Errno> {
    let link = rustix::fs::statat(directory, links::CURRENT, AtFlags::SYMLINK_NOFOLLOW)?;
    let within = rustix::fs::fstat(directory.open_generation(name)?)?;
    // A link is created when its generation is complete. The time of its content is the time of its creation.
    let published =
        kept.contents.values().map(|(_, stat)| stat.st_ctime).fold(link.st_mtime, i64::max);
    let is_later = |stat: &Stat| stat.st_ctime > published.saturating_add(LATER);
    // The newest link leads to the newest name. A generation's files are written right after it has got its name.
    let written = kept.contents.values().map(|(_, stat)| stat.st_ctime).max();
    let named = generation_name::named_at(name)
        .and_then(|named| named.duration_since(SystemTime::UNIX_EPOCH).ok())
        .and_then(|named| i64::try_from(named.as_secs()).ok());
    if let (Some(written), Some(named)) = (written, named)
        && written < named.saturating_sub(APART)
    {
        return Ok(Some(ownership::at(directory.path_of(name))(Reason::Renamed)));
    }
    // A directory on the path was modified when an entry was created in it; a link, when it was created itself.
    let moved = |stat: &Stat| is_later(stat) && stat.st_ctime > stat.st_mtime.saturating_add(LATER);
    if let Some(step) = directory.found().iter().find(|step| moved(&step.stat)) {
        return Ok(Some(ownership::at(step.path.clone())(Reason::Renamed)));
    }
    let found = [(links::CURRENT, link), (name, within)]
        .into_iter()
        .find(|(_, stat)| is_later(stat))
        .map(|(found, _)| ownership::at(directory.path_of(found))(Reason::Renamed));
    Ok(found)
}
