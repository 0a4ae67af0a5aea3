//! The way to the published directory. A user who may rename one of the directories on it can put another one in the
//! place of the published one, for as long as a reload takes.
//!
//! So each of them is judged as `sshd` judges those on the way to `authorized_keys` (`StrictModes`, `safe_path` in its
//! misc.c): it belongs to root or to us, and nobody else may write to it. Two allowances: with the sticky bit others may
//! write, because they cannot rename what is not theirs; and so they may in the root of a mount of its own, as they may
//! where that is the published directory itself.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Statx, StatxAttributes, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use super::error::Error;
use super::trace::Trace;
use crate::users;

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
    /// It lies in such a mount, where those others may rename it.
    WithinMount {
        /// The permission bits of the mount's root.
        mode: u32,
    },
}

/// As many as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Where the kernel keeps the access control list of what will be made in a directory.
const DEFAULT_ACL: &str = "system.posix_acl_default";
/// The tags of a user and of a group that are named (`linux/posix_acl.h`).
const NAMED: [u16; 2] = [0x02, 0x08];

/// A directory that was opened, and what leads to it.
pub(super) struct Way {
    pub(super) path: PathBuf,
    pub(super) fd: OwnedFd,
    published: Statx,
    /// The directories and links on the way, from `/` on, with their paths without links.
    steps: Vec<(PathBuf, Statx)>,
    /// Those that lie in a directory where others may rename them.
    pub(super) exposed: Vec<Exposed>,
}

/// A directory or a link that lies where others may rename it.
pub(super) struct Exposed {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    /// The directory that it lies in: renaming one of its entries changes it.
    pub(super) within: Trace,
}

impl Exposed {
    /// What has to be watched to hear of its being renamed. A link cannot be, but the directory that it lies in.
    pub(super) fn watched(&self) -> PathBuf {
        let is_link = FileType::from_raw_mode(self.stat.st_mode).is_symlink();
        let above = self.path.parent().filter(|_| is_link);
        above.unwrap_or(&self.path).to_owned()
    }
}

/// Opens the directory. Each step is taken from the directory that is recorded, by its descriptor.
pub(super) fn follow(path: &Path) -> Result<Way, Error> {
    let failed = |cause| Error::Open { directory: path.to_owned(), cause };
    let mut ahead: VecDeque<OsString> = components(path).collect();
    let (mut here, mut stat) = root().map_err(failed)?;
    let mut behind = PathBuf::from("/");
    let mut steps = vec![(behind.clone(), stat)];
    let mut exposed = Vec::new();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
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
    Ok(Way { path: path.to_owned(), fd: fd.map_err(failed)?, published: stat, steps, exposed })
}

/// Judges a directory that somebody else than pgsvid writes, and the way to it, for readers of that user.
pub(super) fn judge(path: &Path, reader: u32) -> Result<(), Error> {
    follow(path)?.judge(reader).map(drop)
}

impl Way {
    /// The directory's owner.
    pub(super) fn owner(&self) -> u32 {
        self.published.stx_uid
    }

    /// Whether others may rename what is in the directory, or itself, or what leads to it. Whatever it is trusted for:
    /// with the sticky bit its content is safe, and it can lie where it is not safe itself.
    pub(super) fn is_exposed(&self) -> bool {
        !self.exposed.is_empty() || matches!(Openness::of(&self.published), Openness::Mount(_))
    }

    /// Whether a default access control list gives rights to single users or groups (`acl(5)`), which no permission bits
    /// show, for whatever is made in the directory. One that only limits the usual rights does not matter.
    pub(super) fn gives_more_rights(&self) -> bool {
        let mut list = [0; 256];
        match rustix::fs::fgetxattr(&self.fd, DEFAULT_ACL, &mut list) {
            // A version, then entries of a tag, rights, and a number: `linux/posix_acl_xattr.h`.
            Ok(length) => {
                let entries = list.get(4..length).unwrap_or_default().chunks_exact(8);
                let tags = entries.map(|entry| u16::from_le_bytes([entry[0], entry[1]]));
                tags.into_iter().any(|tag| NAMED.contains(&tag))
            }
            Err(cause) => cause == Errno::RANGE,
        }
    }

    /// Judges the way and the directory, for a pgsvid of that user. What comes first is told: the rest depends on it.
    pub(super) fn judge(&self, ours: u32) -> Result<Trust, Error> {
        let mut open_mount = None;
        for (ancestor, stat) in &self.steps {
            self.judge_owner(ancestor, stat, ours)?;
            // A link's own mode says nothing.
            if is_link(stat) {
                continue;
            }
            match Openness::of(stat) {
                Openness::Closed | Openness::Sticky(_) => {}
                // The root of all is a mount, too, but not one of its own.
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
        // The owner of `/` is root, or the one who stands for root: all that there is depends on that user anyway.
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

    /// Whether a directory or link may be root's, where root is one of many users without a number of their own. It may if
    /// nobody but such users could put it there, from `/` on. Not so in a directory for everybody, or beneath one of ours.
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

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn root() -> Result<(OwnedFd, Statx), Errno> {
    let root = open(rustix::fs::CWD, Path::new("/"), OFlags::DIRECTORY)?;
    let stat = look(&root)?;
    Ok((root, stat))
}

/// Opens a directory or a link, and follows none.
fn enter(within: &OwnedFd, name: &OsString) -> Result<OwnedFd, Errno> {
    // As a directory first: an automounter mounts it then.
    match open(within, Path::new(name), OFlags::DIRECTORY) {
        Err(Errno::NOTDIR | Errno::LOOP) => open(within, Path::new(name), OFlags::empty()),
        opened => opened,
    }
}

/// With `O_PATH` it takes no permission but to pass through what is above, and no sandbox's leave.
fn open(within: impl AsFd, name: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
    retry_on_intr(|| rustix::fs::openat(&within, name, flags, Mode::empty()))
}

fn look(fd: &OwnedFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

/// Who else may write to a directory, with its permission bits.
enum Openness {
    /// Nobody.
    Closed,
    /// Others, who cannot rename what is not theirs.
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
