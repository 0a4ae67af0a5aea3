//! The path to the agent's socket. A user who can put a socket there is the agent for pgsvid, and chooses the certificate, the
//! key and the authorities that it publishes.
//!
//! SPIRE's agent often has a user of its own, so the owner of the socket proves nothing: an attacker's socket belongs to the
//! attacker. What counts is who could have created each entry of the path. Where only the owner of a directory may write, that
//! owner created its entries; root created those of `/`, and so on. Where others may write, an entry counts only if the sticky
//! bit is set, so that others cannot replace it, and if it belongs to root, to this process's user, or to the directory's owner.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Statx, StatxAttributes};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::Endpoint;
use crate::files::{ACCESS_LIST, components, lists_names, look, root, step};
use crate::text::shown;
use crate::users;

/// How many entries of a path are examined, those of links included.
const MOST_ENTRIES: usize = 1000;

/// An entry of the path to the agent's socket that other users could have created or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchangeable {
    /// The directory, the link, or the socket.
    pub entry: PathBuf,
    /// The reason.
    pub reason: Reason,
}

/// Why other users could have put an entry in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to the user with this ID, and users other than the owner may create entries in the directory that contains
    /// it.
    Created(u32),
    /// Others may replace entries of the directory that contains it, which has these permission bits.
    Replaced(u32),
    /// It cannot be examined.
    Unseen(Errno),
}

impl fmt::Display for Exchangeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names in a link are its owner's words.
        let shown = |path: &Path| shown(&path.to_string_lossy());
        let entry = shown(&self.entry);
        let directory = shown(self.entry.parent().unwrap_or(Path::new("/")));
        match self.reason {
            Reason::Created(owner) => {
                write!(
                    f,
                    "{entry} belongs to uid {owner}, and other users may create files in {directory}"
                )
            }
            Reason::Replaced(mode) => {
                write!(
                    f,
                    "{directory} has the mode {mode:04o}, with which others may replace {entry}"
                )
            }
            Reason::Unseen(errno) => write!(f, "{entry} cannot be examined: {errno}"),
        }
    }
}

/// The remedy for [`Exchangeable`].
pub const FIX: &str = "let the agent create its socket in a directory that only root or the agent's user may write to, below others that \
    only root may write to, such as /run/spire/agent/public (socket_path in SPIRE's agent.conf), and change workload_api.endpoint";

/// The first entry of the path to the agent's socket that other users could have put there. `None` for `tcp://`.
#[must_use]
pub fn exchangeable(endpoint: &Endpoint) -> Option<Exchangeable> {
    match endpoint {
        Endpoint::Unix(path) => examine(path),
        Endpoint::Tcp(_) => None,
    }
}

fn examine(path: &Path) -> Option<Exchangeable> {
    let unseen = |entry: &Path, errno| {
        Some(Exchangeable { entry: entry.to_owned(), reason: Reason::Unseen(errno) })
    };
    let mut ahead: VecDeque<OsString> = components(path).collect();
    let (mut here, mut within) = match root() {
        Ok(root) => root,
        Err(errno) => return unseen(Path::new("/"), errno),
    };
    let mut behind = PathBuf::from("/");
    let trusted = [0, geteuid().as_raw(), within.stx_uid];
    let mut examined = 0;
    while let Some(name) = ahead.pop_front() {
        let entry = if name == ".." { behind.clone() } else { behind.join(&name) };
        examined += 1;
        if examined > MOST_ENTRIES {
            return unseen(path, Errno::LOOP);
        }
        let found = step(&here, Path::new(&name), OFlags::empty())
            .and_then(|next| Ok((look(&next)?, next)));
        let (stat, next) = match found {
            Ok(found) => found,
            Err(errno) => return unseen(&entry, errno),
        };
        if name == ".." {
            behind.pop();
        } else if let Some(reason) =
            judge(&within, roots_group_writes(&here, &within), &stat, trusted)
        {
            return Some(Exchangeable { entry, reason });
        }
        if FileType::from_raw_mode(stat.stx_mode.into()).is_symlink() {
            let target = match rustix::fs::readlinkat(&next, "", Vec::new()) {
                Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
                Err(errno) => return unseen(&entry, errno),
            };
            if target.is_absolute() {
                (here, within) = match root() {
                    Ok(root) => root,
                    Err(errno) => return unseen(Path::new("/"), errno),
                };
                behind = PathBuf::from("/");
            }
            for name in components(&target).rev() {
                ahead.push_front(name);
            }
            continue;
        }
        if name != ".." {
            behind = entry;
        }
        (here, within) = (next, stat);
    }
    None
}

/// Whether a directory's group is root's, and its permissions are that group's alone: with an access control list they are the
/// most that any user or group named there has. If the list cannot be read, as in a sandbox, they count as others'.
fn roots_group_writes(here: &OwnedFd, within: &Statx) -> bool {
    if within.stx_gid != 0 || within.stx_mode & 0o020 == 0 {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(here, ".", flags, Mode::empty()).ok();
    opened.and_then(|opened| lists_names(opened, ACCESS_LIST)) == Some(false)
}

/// Judges an entry by the directory that contains it. `roots_group` says that its group is root's, which could replace
/// everything anyway.
fn judge(within: &Statx, roots_group: bool, entry: &Statx, trusted: [u32; 3]) -> Option<Reason> {
    let mode = u32::from(within.stx_mode) & 0o7777;
    let writers = if roots_group { 0o002 } else { 0o022 };
    if mode & writers == 0 {
        return None;
    }
    if mode & 0o1000 == 0 {
        // The root of a mount of its own, such as a volume of a pod: the others are the pod's own containers, or there are none,
        // because it is mounted read-only.
        let is_mount = within.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        return (!is_mount).then_some(Reason::Replaced(mode));
    }
    let owner = entry.stx_uid;
    // Users without an ID in this namespace share one.
    let is_known = users::nobody_here() != Some(owner);
    let is_trusted = trusted.contains(&owner) || owner == within.stx_uid;
    (!is_known || !is_trusted).then_some(Reason::Created(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mode: u16, uid: u32, gid: u32) -> Statx {
        let mut stat = root().unwrap().1;
        (stat.stx_mode, stat.stx_uid, stat.stx_gid) = (mode, uid, gid);
        stat.stx_attributes = StatxAttributes::empty();
        stat
    }

    #[test]
    fn b78_what_others_could_have_created_is_judged_by_the_directory_that_contains_it() {
        const SPIRE: u32 = 900;
        let trusted = [0, 70, 0];
        for (within, owner, reason) in [
            // Root created `/run/spire` for SPIRE's user, and this user creates what it likes there.
            (stat(0o755, 0, 0), SPIRE, None),
            (stat(0o755, SPIRE, SPIRE), 1000, None),
            (stat(0o775, 0, 0), SPIRE, None),
            (stat(0o775, 0, SPIRE), SPIRE, Some(Reason::Replaced(0o775))),
            // `/tmp`
            (stat(0o1777, 0, 0), 0, None),
            (stat(0o1777, 0, 0), 70, None),
            (stat(0o1777, 0, 0), SPIRE, Some(Reason::Created(SPIRE))),
            (stat(0o1777, SPIRE, SPIRE), SPIRE, None),
            (stat(0o777, 0, 0), 0, Some(Reason::Replaced(0o777))),
        ] {
            let mode = within.stx_mode;
            let roots_group = within.stx_gid == 0;
            let judged = judge(&within, roots_group, &stat(0o755, owner, 0), trusted);
            assert_eq!(judged, reason, "{mode:o} {owner}");
            // The permissions are those of a list.
            let listed = judge(&within, false, &stat(0o755, owner, 0), trusted);
            assert_eq!(listed.is_some(), reason.is_some() || mode == 0o775, "{mode:o} {owner}");
        }
        let mut mount = stat(0o777, 0, 0);
        mount.stx_attributes = StatxAttributes::MOUNT_ROOT;
        assert_eq!(judge(&mount, true, &stat(0o755, SPIRE, 0), trusted), None);
    }
}
