//! Whether somebody has put an older set back. In a directory where others may rename, an earlier generation of ours, or an
//! earlier `..data`, can be given its former name again: it is ours, and valid, and may hold an authority that has been
//! removed since.
//!
//! A rename needs no ownership, but it sets the time of change of what is renamed (`inode(7)`, ctime), which only the kernel
//! can set. We rename a link once, when it is made, and a generation never. What root changes afterwards, as Kubernetes does
//! when it gives a volume to its group, it changes in the files as well.
//!
//! The same goes for the directory, where others may rename that. A rename sets no time of modification (tried on ext4, tmpfs
//! and overlayfs), and an entry that is made in it sets both. So one whose time of change is later than both that and its set
//! was renamed, or given another owner or mode. With the sticky bit, others may hide it by making an entry.

use std::time::SystemTime;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::directory::Directory;
use super::kept::Kept;
use super::ownership::{self, NotOurs, Reason};
use super::{generation, links};

/// How much later a change is counted, in seconds: more than lies between two of our own steps.
const LATER: i64 = 2;

/// How far the clock of the file system and ours may be apart, in seconds.
const APART: i64 = 30;

/// What of the current set was renamed after it was published, if anything was.
pub(super) fn renamed(
    directory: &Directory,
    name: &str,
    kept: &Kept,
) -> Result<Option<NotOurs>, Errno> {
    let link = rustix::fs::statat(directory, links::CURRENT, AtFlags::SYMLINK_NOFOLLOW)?;
    let within = rustix::fs::fstat(directory.open_generation(name)?)?;
    // A link is made when its generation is complete. The time of its content is the time when it was made.
    let published =
        kept.contents.values().map(|(_, stat)| stat.st_ctime).fold(link.st_mtime, i64::max);
    let is_later = |stat: &Stat| stat.st_ctime > published.saturating_add(LATER);
    // The newest link leads to the newest name. A generation's files are written right after it has got its name.
    let written = kept.contents.values().map(|(_, stat)| stat.st_ctime).max();
    let named = generation::named_at(name)
        .and_then(|named| named.duration_since(SystemTime::UNIX_EPOCH).ok())
        .and_then(|named| i64::try_from(named.as_secs()).ok());
    if let (Some(written), Some(named)) = (written, named)
        && written < named.saturating_sub(APART)
    {
        return Ok(Some(ownership::at(directory.path_of(name))(Reason::Renamed)));
    }
    // What is on the way was modified when an entry was made in it, or the link itself.
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
