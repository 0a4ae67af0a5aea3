//! Files that this process can read, but the server's user cannot: the server keeps what it read before, or uses nothing.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{LARGEST_LOCK, server_uid};
use crate::sql;
use pgsvid_base::files;

/// How many links are followed to find a file (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Longest access control list that is judged, in bytes.
const LONGEST_LIST: usize = 1024;
/// The tags of a list's entries (`linux/posix_acl.h`).
const USER: u16 = 0x02;
const GROUP_OF_FILE: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;
const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

/// A file that the server's user cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUnreadable {
    /// The file.
    pub path: PathBuf,
    /// What denies access: the file itself, or a directory on its path.
    pub at: PathBuf,
    /// Whether `at` is a directory on the path.
    pub is_directory: bool,
    /// The server's user ID.
    pub uid: u32,
    /// The owner of that file or directory.
    pub owner: u32,
    /// Whether it certainly belongs to the server: it is in a directory of the server's user that holds the server's files,
    /// and not behind a link. A file that a line names may belong to any user.
    pub is_own: bool,
}

/// Those of the files that the server's user cannot read, judged by owners and modes. Empty if this process runs as that
/// user, or if the user is unknown. `homes` are the directories of the server's files.
#[must_use]
pub fn server_unreadable(
    socket: &sql::Settings,
    paths: &[PathBuf],
    homes: &[PathBuf],
) -> Vec<ServerUnreadable> {
    let reader = Reader::of(socket, homes);
    paths.iter().filter_map(|path| reader.as_ref()?.server_unreadable(path)).collect()
}

/// Whether it is a regular file without further names in one of these directories, and its directory belongs to that user.
fn is_at_home(path: &Path, uid: u32, homes: &[PathBuf]) -> bool {
    let is_single =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.nlink() == 1);
    let directory = path.parent().and_then(|directory| std::fs::canonicalize(directory).ok());
    is_single
        && directory.is_some_and(|directory| {
            homes.iter().any(|home| directory.starts_with(home))
                && std::fs::metadata(&directory).is_ok_and(|found| found.uid() == uid)
        })
}

/// The server's user, who reads the files.
#[derive(Debug)]
pub(super) struct Reader {
    uid: u32,
    /// The user's groups; `None` if they are unknown: then every group permission counts.
    groups: Option<BTreeSet<u32>>,
    /// The directories of the server's files.
    homes: Vec<PathBuf>,
}

impl Reader {
    /// The server's user; `None` if it is this process's user, or root.
    pub(super) fn of(socket: &sql::Settings, homes: &[PathBuf]) -> Option<Self> {
        let ours = rustix::process::geteuid().as_raw();
        let uid = server_uid(socket).filter(|uid| *uid != ours && *uid != 0)?;
        let homes = homes.iter().filter_map(|home| std::fs::canonicalize(home).ok()).collect();
        Some(Self { uid, groups: groups(socket, uid), homes })
    }

    fn server_unreadable(&self, path: &Path) -> Option<ServerUnreadable> {
        let uid = self.uid;
        let (at, is_directory) = self.stopped_at(path)?;
        let owner = std::fs::symlink_metadata(&at).ok()?.uid();
        let is_own = owner == uid || (owner == 0 && is_at_home(&at, uid, &self.homes));
        Some(ServerUnreadable { path: path.to_owned(), at, is_directory, uid, owner, is_own })
    }

    /// Whether the file may be another user's secret: the user who named it could have done so to make pgsvid print it.
    pub(super) fn is_secret(&self, path: &Path) -> bool {
        self.server_unreadable(path).is_some_and(|server_unreadable| !server_unreadable.is_own)
    }

    /// The file or directory that the server's user cannot read or enter on the path to the file, and whether it is a
    /// directory above the file. If this process cannot examine a step of the path, that step counts as open.
    fn stopped_at(&self, path: &Path) -> Option<(PathBuf, bool)> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let directory = path.parent()?;
            let resolved = std::fs::canonicalize(directory).ok()?;
            let closed = |step: &&Path| !self.may(step, ENTER);
            let starts = [directory, &resolved];
            if let Some(closed) = starts.iter().flat_map(|start| start.ancestors()).find(closed) {
                return Some((closed.to_owned(), true));
            }
            match std::fs::read_link(&path) {
                Ok(target) => path = directory.join(target),
                Err(_) => break,
            }
        }
        let needed = if path.is_dir() { READ | ENTER } else { READ };
        (!self.may(&path, needed)).then_some((path, false))
    }

    fn may(&self, path: &Path, needed: u32) -> bool {
        let Ok(found) = std::fs::metadata(path) else { return true };
        let mut list = [0_u8; LONGEST_LIST];
        match rustix::fs::getxattr(path, files::ACCESS_LIST, &mut list) {
            Ok(length) => self.may_by_list(list.get(..length).unwrap_or_default(), &found, needed),
            // Too long to judge: it may grant more than the mode.
            Err(Errno::RANGE) => true,
            Err(_) => self.may_by_mode(&found, needed),
        }
    }

    /// By an access control list (`acl(5)`, "Access check algorithm"). It can grant more than the mode, and less: then the
    /// mode shows the mask.
    fn may_by_list(&self, list: &[u8], found: &Metadata, needed: u32) -> bool {
        if found.uid() == self.uid {
            return self.may_by_mode(found, needed);
        }
        // A version, then entries of a tag, rights, and an ID (`linux/posix_acl_xattr.h`).
        let entries = list.get(4..).unwrap_or_default().chunks_exact(8).map(|entry| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let id = u32::from(number(4)) | u32::from(number(6)) << 16;
            (number(0), u32::from(number(2)), id)
        });
        let entries: Vec<(u16, u32, u32)> = entries.collect();
        let of = |wanted: u16| entries.iter().filter(move |(tag, ..)| *tag == wanted);
        let mask = of(MASK).next().map_or(READ | ENTER | WRITE, |(_, rights, _)| *rights);
        let grants = |rights: u32| rights & mask & needed == needed;
        if let Some((_, rights, _)) = of(USER).find(|(.., id)| *id == self.uid) {
            return grants(*rights);
        }
        let is_member = |gid: u32| self.groups.as_ref().is_none_or(|groups| groups.contains(&gid));
        let owning = of(GROUP_OF_FILE).filter(|_| is_member(found.gid()));
        let named = of(GROUP).filter(|(.., gid)| is_member(*gid));
        let groups: Vec<u32> = owning.chain(named).map(|(_, rights, _)| *rights).collect();
        let others = || of(OTHERS).any(|(_, rights, _)| rights & needed == needed);
        if groups.is_empty() || self.groups.is_none() {
            return others() || groups.into_iter().any(grants);
        }
        groups.into_iter().any(grants)
    }

    fn may_by_mode(&self, found: &Metadata, needed: u32) -> bool {
        let of = |shift: u32| (found.mode() >> shift) & needed == needed;
        if found.uid() == self.uid {
            return of(6);
        }
        match &self.groups {
            Some(groups) if groups.contains(&found.gid()) => of(3),
            Some(_) => of(0),
            None => of(3) || of(0),
        }
    }
}

/// The groups of the server's process, whose ID is the first line of its lock file (PostgreSQL: `miscinit.c`).
fn groups(socket: &sql::Settings, uid: u32) -> Option<BTreeSet<u32>> {
    let mut lock = socket.socket().into_os_string();
    lock.push(".lock");
    let (text, status) = files::text_and_status(Path::new(&lock), LARGEST_LOCK).ok()?;
    let owner = status.uid();
    let pid: u32 = text.lines().next().filter(|_| owner == uid)?.parse().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
    };
    // The second number of each line is the effective ID, of the user and of the group.
    if numbers("Uid")?.get(1) != Some(&uid) {
        return None;
    }
    Some(numbers("Groups")?.into_iter().chain(numbers("Gid")?.get(1).copied()).collect())
}
