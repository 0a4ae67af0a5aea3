//! The links: `..data`, which one rename moves from generation to generation, and the published names through it.

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::directory::Directory;
use super::error::Error;
use super::generation_name::PREFIX;
use super::kept;
use super::ownership::{self, NotOurs, Reason};
use super::seam;

/// The link to the current generation.
pub(super) const CURRENT: &str = "..data";
/// Every link is created under a temporary name that begins with this, and then renamed to its place.
const TEMPORARY: &str = "..tmp-";

/// A directory that was in the way gets a name that begins with this.
const REMOVED: &str = "..removed-";

/// Largest plain file that is taken over from another helper, in bytes: the certificates of 500 authorities with keys of
/// 4,096 bits take as much.
const LARGEST_PLAIN: u64 = 1024 * 1024;

/// The name of the current generation's directory, if there is one.
pub(super) fn current(directory: &Directory) -> Result<Option<String>, Error> {
    match kind(directory, CURRENT)? {
        Kind::Absent => Ok(None),
        Kind::NotOurs(found) => Err(Error::NotOurs(found)),
        Kind::Link(target) if target.starts_with(PREFIX) && !target.contains('/') => {
            Ok(Some(target))
        }
        other => Err(in_the_way(directory, CURRENT, &other)),
    }
}

/// Returns each of pgsvid's names at which others could have put something, and what that is. Readers could get it, now or
/// later.
///
/// Fails if something that must not be removed is in the way of the links. Plain files at the published names are allowed,
/// because another helper may have written them.
pub(super) fn check(
    directory: &Directory,
    names: &[String],
) -> Result<Vec<(String, NotOurs)>, Error> {
    let mut others = Vec::new();
    match current(directory) {
        Ok(_) => {}
        Err(Error::NotOurs(found)) => others.push((CURRENT.to_owned(), found)),
        Err(obstacle) => others.push((CURRENT.to_owned(), movable(directory, CURRENT, obstacle)?)),
    }
    for name in names {
        match kind(directory, name)? {
            Kind::Absent => {}
            Kind::Plain(size) if size <= LARGEST_PLAIN => {}
            Kind::Link(target) if target == stable_target(name) => {}
            Kind::NotOurs(found) => others.push((name.clone(), found)),
            other => {
                let obstacle = in_the_way(directory, name, &other);
                others.push((name.clone(), movable(directory, name, obstacle)?));
            }
        }
    }
    Ok(others)
}

/// In a directory where others may write, turns an obstacle into something that may be removed: it belongs to others, or is a
/// file of pgsvid that they have renamed. In any other directory the obstacle is the error.
fn movable(directory: &Directory, name: &str, obstacle: Error) -> Result<NotOurs, Error> {
    if !directory.is_shared() {
        return Err(obstacle);
    }
    let reason = match kind(directory, name)? {
        Kind::NotOurs(found) => return Ok(found),
        Kind::Other(_) => Reason::Kind,
        Kind::Absent | Kind::Plain(_) | Kind::Link(_) => Reason::Target,
    };
    Ok(ownership::at(directory.path_of(name))(reason))
}

/// Removes the link to the current generation, because others could have written a part of it.
pub(super) fn remove_current(directory: &Directory, found: &NotOurs) -> Result<(), Error> {
    remove(directory, CURRENT, found)
}

/// Removes what others could have created at one of pgsvid's names.
pub(super) fn remove(directory: &Directory, name: &str, found: &NotOurs) -> Result<(), Error> {
    seam::step();
    let removed = match found.reason {
        // It may be any file or directory of this process's user that others have renamed.
        Reason::Target => move_aside(directory, name),
        _ => match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) if directory.is_shared() => move_aside(directory, name),
            removed => removed,
        },
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS) => Err(Error::NotOurs(found.clone())),
        Err(cause) => Err(directory.step("remove", name, cause)),
    }
}

/// Renames what must not be lost. It is not emptied, even if it looks like a generation, because it may be the directory of a
/// client's set instead of a generation.
fn move_aside(directory: &Directory, name: &str) -> Result<(), Errno> {
    let aside = format!("{REMOVED}{:08x}", fastrand::u32(..));
    rustix::fs::renameat(directory, name, directory, aside.as_str())?;
    let _ = rustix::fs::unlinkat(directory, aside.as_str(), AtFlags::REMOVEDIR);
    Ok(())
}

/// Makes `generation` the current one, for every reader at once. The change is on disk only after a sync.
pub(super) fn swap(directory: &Directory, generation: &str) -> Result<(), Error> {
    link(directory, CURRENT, generation)
}

/// Makes sure that every published name is a link; returns the names where a plain file was replaced.
pub(super) fn ensure(directory: &Directory, names: &[String]) -> Result<Vec<String>, Error> {
    let mut taken_over = Vec::new();
    let mut changed = false;
    for name in names {
        match kind(directory, name)? {
            Kind::Link(target) if target == stable_target(name) => continue,
            // Another link is replaced by one rename, if it can be removed.
            Kind::Absent | Kind::NotOurs(_) => {}
            Kind::Plain(_) => taken_over.push(name.clone()),
            other => return Err(in_the_way(directory, name, &other)),
        }
        link(directory, name, &stable_target(name))?;
        changed = true;
    }
    if changed {
        directory.sync()?;
    }
    Ok(taken_over)
}

/// A plain file at a published name.
pub(super) struct Plain {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) mode: u32,
    /// Whether nobody else could have written it. Its group may have written it, because that may be the user's own group (a
    /// umask of 0002).
    pub(super) is_ours: bool,
}

/// The plain file at a published name, if there is one that may be taken over.
pub(super) fn plain_file(directory: &Directory, name: &str) -> Option<Plain> {
    let file = kept::open_file(directory, name).ok()?;
    directory.judge_plain(&file.stat).ok()?;
    let bytes = file.read(LARGEST_PLAIN).ok()?;
    let is_ours = directory.owners().judge_file(&file.stat).is_ok();
    Some(Plain { bytes, mode: file.stat.st_mode & 0o777, is_ours })
}

/// Whether every published name is the right link.
pub(super) fn are_complete(directory: &Directory, names: &[String]) -> bool {
    incomplete(directory, names).is_empty()
}

/// The published names that are not the right links.
pub(super) fn incomplete(directory: &Directory, names: &[String]) -> Vec<String> {
    let is_ours = |name: &String| matches!(kind(directory, name), Ok(Kind::Link(target)) if target == stable_target(name));
    names.iter().filter(|name| !is_ours(name)).cloned().collect()
}

/// Removes the temporary links of a killed run.
pub(super) fn remove_leftovers(directory: &Directory) -> Result<(), Error> {
    for name in directory.entries(TEMPORARY)? {
        seam::step();
        let _ = rustix::fs::unlinkat(directory, name.as_str(), AtFlags::empty());
    }
    Ok(())
}

fn stable_target(name: &str) -> String {
    format!("{CURRENT}/{name}")
}

/// Replaces whatever is at `name` by a link, in one step.
fn link(directory: &Directory, name: &str, target: &str) -> Result<(), Error> {
    let temporary = format!("{TEMPORARY}{:08x}", fastrand::u32(..));
    seam::step();
    rustix::fs::symlinkat(target, directory, temporary.as_str())
        .map_err(|cause| directory.step("create", &temporary, cause))?;
    seam::step();
    rustix::fs::renameat(directory, temporary.as_str(), directory, name).map_err(|cause| {
        let _ = rustix::fs::unlinkat(directory, temporary.as_str(), AtFlags::empty());
        directory.step("rename a link to", name, cause)
    })?;
    // Where others may rename, another file may have the name by now.
    match kind(directory, name)? {
        Kind::Link(found) if found == target => Ok(()),
        Kind::NotOurs(found) => Err(Error::NotOurs(found)),
        other => Err(in_the_way(directory, name, &other)),
    }
}

enum Kind {
    Absent,
    /// A plain file of this size in bytes.
    Plain(u64),
    Link(String),
    /// A link or a plain file that others could have put there.
    NotOurs(NotOurs),
    Other(FileType),
}

/// Judges and reads by one descriptor: the name may lead elsewhere at any time.
fn kind(directory: &Directory, name: &str) -> Result<Kind, Error> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let look = |cause| directory.step("look at", name, cause);
    let found = match retry_on_intr(|| rustix::fs::openat(directory, name, flags, Mode::empty())) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Kind::Absent),
        Err(cause) => return Err(look(cause)),
    };
    let stat = rustix::fs::fstat(&found).map_err(look)?;
    let not_ours = ownership::at(directory.path_of(name));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(match directory.judge_plain(&stat) {
            Ok(()) => Kind::Plain(u64::try_from(stat.st_size).unwrap_or(u64::MAX)),
            Err(reason) => Kind::NotOurs(not_ours(reason)),
        }),
        FileType::Symlink => {
            if let Err(reason) = directory.owners().judge_owner(stat.st_uid) {
                return Ok(Kind::NotOurs(not_ours(reason)));
            }
            let target = rustix::fs::readlinkat(&found, "", Vec::new())
                .map_err(|cause| directory.step("read the link", name, cause))?;
            Ok(Kind::Link(target.to_string_lossy().into_owned()))
        }
        other => Ok(Kind::Other(other)),
    }
}

fn in_the_way(directory: &Directory, name: &str, kind: &Kind) -> Error {
    let is = match kind {
        Kind::Absent => "is absent".to_owned(),
        Kind::Plain(size) if *size > LARGEST_PLAIN => {
            format!(
                "is a plain file of {size} bytes, more than the {LARGEST_PLAIN} that pgsvid takes over,"
            )
        }
        Kind::Plain(_) => "is a plain file".to_owned(),
        Kind::Link(target) => format!("is a symbolic link to {}", target.escape_debug()),
        Kind::NotOurs(found) => found.reason.to_string(),
        Kind::Other(FileType::Directory) => "is a directory".to_owned(),
        Kind::Other(_) => "is neither a file nor a link".to_owned(),
    };
    Error::InTheWay { path: directory.path_of(name), is }
}
