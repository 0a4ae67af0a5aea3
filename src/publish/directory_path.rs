//! The path to the published directory. A user who may rename one of the directories on it can replace the published
//! directory for as long as a reload takes.
//!
//! So each of them is judged as `sshd` judges those on the path to `authorized_keys` (`StrictModes`, `safe_path` in its
//! misc.c): it must belong to root or to this process's user, and nobody else may write to it. There are two exceptions: with
//! the sticky bit others may write, because they cannot rename files of others; and they may write in the root of a mount of
//! its own, if that is the published directory itself or above it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, Statx, StatxAttributes};
use rustix::io::{Errno, retry_on_intr};

use super::error::Error;
use super::trace::Trace;
use crate::files::{DEFAULT_LIST, components, lists_names, look, root, step};
use crate::users;

/// Why a directory is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nobody but its owner may write to it.
    Exclusive,
    /// Others may write, but not replace files of others: the sticky bit is set.
    Sticky {
        /// Its permission bits.
        mode: u32,
    },
    /// Others may write, but it is the root of a mount of its own, such as a Kubernetes `emptyDir`: the others are the pod's
    /// own containers.
    Mount {
        /// Its permission bits.
        mode: u32,
    },
    /// It is within such a mount, and the others may rename it there.
    WithinMount {
        /// The permission bits of the mount's root.
        mode: u32,
    },
}

/// The most links that are followed: the kernel has the same limit (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Most components that are followed, those of links included.
const MOST_COMPONENTS: usize = 10_000;

/// An open directory, and the path to it.
pub(super) struct DirectoryPath {
    pub(super) path: PathBuf,
    pub(super) fd: OwnedFd,
    published: Statx,
    /// The directories and links on the path, from `/` on, with their paths without links.
    steps: Vec<(PathBuf, Statx)>,
    /// The directories and links that others may rename, because they may write to the directory that contains them.
    pub(super) exposed: Vec<Exposed>,
}

/// A directory or a link that others may rename.
pub(super) struct Exposed {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    /// The directory that contains it: renaming one of its entries changes it.
    pub(super) within: Trace,
}

impl Exposed {
    /// What to watch for its renaming. A link cannot be watched, but the directory that contains it can.
    pub(super) fn watched(&self) -> PathBuf {
        let is_link = FileType::from_raw_mode(self.stat.st_mode).is_symlink();
        let above = self.path.parent().filter(|_| is_link);
        above.unwrap_or(&self.path).to_owned()
    }
}

/// Opens the directory. Each step starts from the descriptor of the directory before.
pub(super) fn follow(path: &Path) -> Result<DirectoryPath, Error> {
    let failed = |cause| Error::Open { directory: path.to_owned(), cause };
    let mut ahead: VecDeque<OsString> = components(path).collect();
    let (mut here, mut stat) = root().map_err(failed)?;
    let mut behind = PathBuf::from("/");
    let mut steps = vec![(behind.clone(), stat)];
    let mut exposed = Vec::new();
    let (mut links, mut components_seen) = (0, 0);
    while let Some(name) = ahead.pop_front() {
        components_seen += 1;
        if components_seen > MOST_COMPONENTS {
            return Err(failed(Errno::LOOP));
        }
        let next = enter(&here, &name).map_err(failed)?;
        let found = look(&next).map_err(failed)?;
        if matches!(Openness::of(&stat), Openness::Mount(_)) {
            exposed.push(Exposed {
                path: behind.join(&name),
                stat: rustix::fs::fstat(&next).map_err(failed)?,
                within: Trace::of(&rustix::fs::fstat(&here).map_err(failed)?),
            });
        }
        if is_link(&found) {
            links += 1;
            if links > MOST_LINKS {
                return Err(failed(Errno::LOOP));
            }
            steps.push((behind.join(&name), found));
            let target = rustix::fs::readlinkat(&next, "", Vec::new()).map_err(failed)?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                (here, stat) = root().map_err(failed)?;
                behind = PathBuf::from("/");
            }
            for name in components(&target).rev() {
                ahead.push_front(name);
            }
            continue;
        }
        if name == ".." {
            behind.pop();
        } else {
            behind.push(&name);
        }
        (here, stat) = (next, found);
        steps.push((behind.clone(), stat));
    }
    // The last one is the directory itself.
    steps.pop_if(|(_, last)| !is_link(last));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(&here, ".", flags, Mode::empty()));
    Ok(DirectoryPath {
        path: path.to_owned(),
        fd: fd.map_err(failed)?,
        published: stat,
        steps,
        exposed,
    })
}

/// Judges a directory that somebody other than pgsvid writes, and the path to it, for readers of that user.
pub(super) fn judge(path: &Path, reader: u32) -> Result<(), Error> {
    follow(path)?.judge(reader).map(drop)
}

impl DirectoryPath {
    /// The directory's owner.
    pub(super) fn owner(&self) -> u32 {
        self.published.stx_uid
    }

    /// Whether others may rename entries of the directory, or itself, or what leads to it. This is independent of the trust
    /// in it: with the sticky bit its content is safe, but it may be in a place that is not.
    pub(super) fn is_exposed(&self) -> bool {
        !self.exposed.is_empty() || matches!(Openness::of(&self.published), Openness::Mount(_))
    }

    /// Whether a default access control list grants rights to single users or groups (`acl(5)`), which no permission bits
    /// show, for new entries of the directory. A list that only limits the usual rights does not matter.
    pub(super) fn gives_more_rights(&self) -> bool {
        lists_names(&self.fd, DEFAULT_LIST).unwrap_or(false)
    }

    /// Judges the path and the directory, for a pgsvid that runs as `ours`. Returns the first fault, because the others
    /// depend on it.
    pub(super) fn judge(&self, ours: u32) -> Result<Trust, Error> {
        let mut open_mount = None;
        for (ancestor, stat) in &self.steps {
            self.judge_owner(ancestor, stat, ours)?;
            // A link's own mode has no effect.
            if is_link(stat) {
                continue;
            }
            match Openness::of(stat) {
                Openness::Closed | Openness::Sticky(_) => {}
                // `/` is always the root of a mount: that is no reason to accept a `/` to which others may write.
                Openness::Mount(mode) if ancestor != Path::new("/") => open_mount = Some(mode),
                Openness::Mount(mode) | Openness::Open(mode) => {
                    let (directory, ancestor) = (self.path.clone(), ancestor.clone());
                    return Err(Error::WritableAncestor { directory, ancestor, mode });
                }
            }
        }
        let directory = self.path.clone();
        let owner = self.owner();
        if owner != 0 && owner != ours {
            return Err(Error::WrongOwner { directory, owner, ours });
        }
        match (Openness::of(&self.published), open_mount) {
            (Openness::Closed, None) => Ok(Trust::Exclusive),
            (Openness::Closed, Some(mode)) => Ok(Trust::WithinMount { mode }),
            (Openness::Sticky(mode), _) => Ok(Trust::Sticky { mode }),
            (Openness::Mount(mode), _) => Ok(Trust::Mount { mode }),
            (Openness::Open(mode), _) => Err(Error::WritableByOthers { directory, mode }),
        }
    }

    fn judge_owner(&self, ancestor: &Path, stat: &Statx, ours: u32) -> Result<(), Error> {
        let owner = stat.stx_uid;
        // The owner of `/` is root, or stands for root: everything depends on that user anyway.
        let roots = self.steps.first().map_or(0, |(_, root)| root.stx_uid);
        let is_roots = match users::nobody_here() {
            Some(nobody) if nobody == owner => self.may_be_roots(ancestor),
            _ => owner == roots,
        };
        if [0, ours].contains(&owner) || is_roots {
            return Ok(());
        }
        let (directory, ancestor) = (self.path.clone(), ancestor.to_owned());
        Err(Error::ForeignAncestor { directory, ancestor, owner, ours })
    }

    /// Whether a directory or link may be root's, if root is one of many users without an ID of their own. It may if, from `/`
    /// on, only such users could create it. It may not be root's in a directory for everybody, or in one of this process's
    /// user.
    fn may_be_roots(&self, path: &Path) -> bool {
        let above = |(above, stat): &&(PathBuf, Statx)| {
            above != path && path.starts_with(above) && !is_link(stat)
        };
        self.steps.iter().filter(above).all(|(_, stat)| {
            users::nobody_here() == Some(stat.stx_uid)
                && matches!(Openness::of(stat), Openness::Closed)
        })
    }
}

fn is_link(stat: &Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()).is_symlink()
}

/// Opens a directory or a link, and follows none.
fn enter(within: &OwnedFd, name: &OsString) -> Result<OwnedFd, Errno> {
    // As a directory first, so that an automounter mounts it.
    match step(within, Path::new(name), OFlags::DIRECTORY) {
        Err(Errno::NOTDIR | Errno::LOOP) => step(within, Path::new(name), OFlags::empty()),
        opened => opened,
    }
}

/// Who else may write to a directory, with its permission bits.
enum Openness {
    /// Nobody.
    Closed,
    /// Others, who cannot rename files of others.
    Sticky(u32),
    /// Others; it is the root of a mount.
    Mount(u32),
    /// Others.
    Open(u32),
}

impl Openness {
    fn of(stat: &Statx) -> Self {
        let mode = u32::from(stat.stx_mode) & 0o7777;
        if mode & 0o022 == 0 {
            Self::Closed
        } else if mode & 0o1000 != 0 {
            Self::Sticky(mode)
        } else if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            Self::Mount(mode)
        } else {
            Self::Open(mode)
        }
    }
}
