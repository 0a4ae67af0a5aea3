//! The path to a file: the directories in which a change affects where it leads.
//!
//! `update-ca-certificates` creates links to files elsewhere, Kubernetes links through `..data`, and people link directories
//! of versions. A change of such a link changes the file, but is no event of the directory that the path names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, readlinkat};

use super::steps::components;

/// Most links that are followed (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Most components that are followed, those of links included. PostgreSQL's user may name a link with thousands of components
/// that leads to itself: each of them costs a look at a path that grows.
const MOST_COMPONENTS: usize = 1000;

/// Where a path leads, and through which directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPath {
    /// The directories with the links on the path, in order.
    pub links: Vec<Link>,
    /// The directory that contains the file itself, or should.
    pub end: PathBuf,
}

/// One link on the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The directory that contains it.
    pub directory: PathBuf,
    /// Its name.
    pub name: OsString,
    /// Whether its target is in the same directory, as that of `..data` is.
    pub stays: bool,
}

impl ResolvedPath {
    /// All directories to watch, each once.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let links = self.links.iter().map(|link| &link.directory);
        let mut all: Vec<PathBuf> = links.chain([&self.end]).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Follows an absolute path as the kernel does. What does not exist is treated as a plain directory, because it may appear. Ends
/// where the kernel would follow no more links, or after 1000 components.
#[must_use]
pub fn resolve_path(path: &Path) -> ResolvedPath {
    let mut links = Vec::new();
    let mut reached = PathBuf::from("/");
    // In reverse order, so that `pop` takes the next component.
    let mut rest: Vec<OsString> = components(path).rev().collect();
    for _ in 0..MOST_COMPONENTS {
        let Some(part) = rest.pop() else { break };
        if part == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&part);
        // The sandbox allows no other call that reads a link.
        match readlinkat(CWD, &next, Vec::new()) {
            // The kernel follows no more links. Watch this one, because a change of it can make the path valid.
            Ok(_) if links.len() == MOST_LINKS => {
                reached = next;
                break;
            }
            Ok(target) => {
                let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
                let stays = target.components().count() == 1 && !target.is_absolute();
                links.push(Link { directory: reached.clone(), name: part, stays });
                if target.is_absolute() {
                    reached = PathBuf::from("/");
                }
                rest.extend(components(&target).rev());
            }
            Err(_) => reached = next,
        }
    }
    let end = reached.parent().unwrap_or(&reached).to_owned();
    ResolvedPath { links, end }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn f42_every_directory_is_reported_in_which_a_link_decides_where_a_path_leads() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for directory in ["etc", "store", "store/v1", "map", "map/..1"] {
            create_dir(at(directory)).unwrap();
        }
        drop(File::create(at("store/v1/ca.pem")).unwrap());
        drop(File::create(at("map/..1/ca.pem")).unwrap());
        symlink("v1", at("store/current")).unwrap();
        symlink("../store/current/ca.pem", at("etc/ca.pem")).unwrap();
        symlink("..1", at("map/..data")).unwrap();
        symlink("..data/ca.pem", at("map/ca.pem")).unwrap();
        symlink(at("etc/ca.pem"), at("outer.pem")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let all = |path: &str| resolve_path(&at(path)).directories();
        assert_eq!(all("etc/ca.pem"), [at("etc"), at("store"), at("store/v1")]);
        assert_eq!(all("outer.pem"), [root.clone(), at("etc"), at("store"), at("store/v1")]);
        assert_eq!(all("map/ca.pem"), [at("map"), at("map/..1")]);
        assert_eq!(all("store/v1/ca.pem"), [at("store/v1")]);
        // What does not exist yet.
        assert_eq!(all("etc/none/ca.pem"), [at("etc/none")]);
        assert_eq!(all("loop"), std::slice::from_ref(&root));
        let stays: Vec<_> =
            resolve_path(&at("etc/ca.pem")).links.iter().map(|link| link.stays).collect();
        assert_eq!(stays, [false, true]);
    }

    #[test]
    fn b79_a_link_with_thousands_of_components_that_leads_to_itself_is_followed_only_for_a_while() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().canonicalize().unwrap().join("loop");
        symlink("loop/".repeat(800), &link).unwrap();
        let found = resolve_path(&link);
        assert!(found.links.len() <= MOST_LINKS);
        // The cost of a step grows with it.
        let length = found.end.as_os_str().len();
        assert!(length < 4096, "{length}");
    }
}
