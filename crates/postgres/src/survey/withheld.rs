//! Files that we can read, and the server's user cannot: it goes on with what it has read of them before, or with nothing.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{LARGEST_LOCK, server_uid};
use crate::sql;
use pgsvid_base::files;

/// How many links a file is looked for through (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
const READ: u32 = 4;
const ENTER: u32 = 1;

/// A file that the server's user cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The file.
    pub path: PathBuf,
    /// What keeps the user from it: the file itself, or a directory on the way.
    pub at: PathBuf,
    /// Whether that is a directory on the way.
    pub on_the_way: bool,
    /// The server's user.
    pub uid: u32,
}

/// Those of the files that the server's user cannot read, as far as owners and modes tell. None where we are that user ourselves,
/// or it is not known.
#[must_use]
pub fn withheld(socket: &sql::Settings, paths: &[PathBuf]) -> Vec<Withheld> {
    let ours = rustix::process::geteuid().as_raw();
    let Some(uid) = server_uid(socket).filter(|uid| *uid != ours && *uid != 0) else {
        return Vec::new();
    };
    let reader = Reader { uid, groups: groups(socket, uid) };
    let withheld = |path: &PathBuf| {
        let (at, on_the_way) = reader.stopped_at(path)?;
        Some(Withheld { path: path.clone(), at, on_the_way, uid })
    };
    paths.iter().filter_map(withheld).collect()
}

/// Who reads.
struct Reader {
    uid: u32,
    /// `None` if they are not known: then whatever a group may counts.
    groups: Option<BTreeSet<u32>>,
}

impl Reader {
    /// What keeps the reader from the file, and whether it is a directory on the way. What cannot be looked at keeps nobody.
    fn stopped_at(&self, path: &Path) -> Option<(PathBuf, bool)> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let directory = path.parent()?;
            let resolved = std::fs::canonicalize(directory).ok()?;
            let closed = |step: &&Path| !self.may(step, ENTER);
            let ways = [directory, &resolved];
            if let Some(closed) = ways.iter().flat_map(|way| way.ancestors()).find(closed) {
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
        self.may_by_mode(&found, needed) || has_list(path)
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

/// Whether an access control list may give more rights than the mode.
fn has_list(path: &Path) -> bool {
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024][..])
        .is_ok_and(|length| length > 0)
}

/// The groups of the server's process, whose number is the first line of its lock file (PostgreSQL: `miscinit.c`).
fn groups(socket: &sql::Settings, uid: u32) -> Option<BTreeSet<u32>> {
    let mut lock = socket.socket().into_os_string();
    lock.push(".lock");
    let (text, owner) = files::text_and_owner(Path::new(&lock), LARGEST_LOCK).ok()?;
    let pid: u32 = text.lines().next().filter(|_| owner == uid)?.parse().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
    };
    // The second is the effective one.
    if numbers("Uid")?.get(1) != Some(&uid) {
        return None;
    }
    Some(numbers("Groups")?.into_iter().chain(numbers("Gid")?.get(1).copied()).collect())
}
