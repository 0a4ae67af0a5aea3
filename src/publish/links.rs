//! The links: `..data`, which one rename moves from generation to generation, and the stable names through it.

use rustix::fs::{AtFlags, FileType, RawMode};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::directory::Directory;
use super::error::Error;
use super::generation::{self, PREFIX};
use super::seam;

/// The link to the current generation.
const CURRENT: &str = "..data";
/// Every link is made under a name that begins so, and then renamed over its place.
const TEMPORARY: &str = "..tmp-";

/// The name of the current generation's directory, if there is one.
pub(super) fn current(directory: &Directory) -> Result<Option<String>, Error> {
    match kind(directory, CURRENT)? {
        Kind::Absent => Ok(None),
        Kind::Link(target) if target.starts_with(PREFIX) && !target.contains('/') => {
            Ok(Some(target))
        }
        other => Err(in_the_way(directory, CURRENT, &other)),
    }
}

/// Makes sure that nothing stands in the way of the links, before anything is written. Plain files at the
/// stable names are no obstacle: somebody comes from another helper.
pub(super) fn check(directory: &Directory, names: &[String]) -> Result<(), Error> {
    current(directory)?;
    for name in names {
        match kind(directory, name)? {
            Kind::Absent | Kind::Plain => {}
            Kind::Link(target) if target == stable_target(name) => {}
            other => return Err(in_the_way(directory, name, &other)),
        }
    }
    Ok(())
}

/// Makes `generation` the current one, for every reader at once. It is durable only after a sync.
pub(super) fn swap(directory: &Directory, generation: &str) -> Result<(), Error> {
    link(directory, CURRENT, generation)
}

/// Makes sure that every stable name is a link; returns the names where a plain file was replaced.
pub(super) fn ensure(directory: &Directory, names: &[String]) -> Result<Vec<String>, Error> {
    let mut taken_over = Vec::new();
    let mut changed = false;
    for name in names {
        match kind(directory, name)? {
            Kind::Link(target) if target == stable_target(name) => continue,
            Kind::Absent => {}
            Kind::Plain => taken_over.push(name.clone()),
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

/// The content of a plain file at a stable name, if there is one and it can be read.
pub(super) fn plain_file(directory: &Directory, name: &str) -> Option<Zeroizing<Vec<u8>>> {
    match kind(directory, name) {
        Ok(Kind::Plain) => generation::read(directory, name).ok().map(|(bytes, _)| bytes),
        _ => None,
    }
}

/// Whether every stable name is the link that it should be.
pub(super) fn are_complete(directory: &Directory, names: &[String]) -> bool {
    incomplete(directory, names).is_empty()
}

/// The stable names that are not the links that they should be.
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
    })
}

enum Kind {
    Absent,
    Plain,
    Link(String),
    Other(FileType),
}

fn kind(directory: &Directory, name: &str) -> Result<Kind, Error> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Kind::Absent),
        Err(cause) => return Err(directory.step("look at", name, cause)),
    };
    match FileType::from_raw_mode(RawMode::from(stat.st_mode)) {
        FileType::RegularFile => Ok(Kind::Plain),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())
                .map_err(|cause| directory.step("read the link", name, cause))?;
            Ok(Kind::Link(target.to_string_lossy().into_owned()))
        }
        other => Ok(Kind::Other(other)),
    }
}

fn in_the_way(directory: &Directory, name: &str, kind: &Kind) -> Error {
    let is = match kind {
        Kind::Absent => "is absent".to_owned(),
        Kind::Plain => "is a plain file".to_owned(),
        Kind::Link(target) => format!("is a symbolic link to {}", target.escape_debug()),
        Kind::Other(FileType::Directory) => "is a directory".to_owned(),
        Kind::Other(_) => "is neither a file nor a link".to_owned(),
    };
    Error::InTheWay { path: directory.path_of(name), is }
}
