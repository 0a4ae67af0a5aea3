//! Who can read a secret file besides its owner.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::own_user::own_user;
use crate::config::Config;
use crate::files::{ACCESS_LIST, lists_names};
use crate::hooks::User;

/// Others who can read a secret file.
pub(super) enum Readers {
    /// Who they are, and the command, without the path at its end, that takes the permission away.
    Found(String, &'static str),
    /// Its access control list cannot be read from here.
    Unknown,
    /// None is known.
    Nobody,
}

/// The users who can read the file besides its owner, root, the groups of pgsvid's user, and `files.group`, a group that pgsvid lets
/// read private keys.
pub(super) fn readers(path: &Path, config: &Config) -> Readers {
    if is_readable(path) {
        return Readers::Found("every user of this machine".to_owned(), "chmod o-rwx");
    }
    let Ok(resolved) = std::fs::canonicalize(path) else { return Readers::Nobody };
    let Ok(found) = std::fs::metadata(&resolved) else { return Readers::Nobody };
    if !found.is_file() || found.mode() & 0o040 == 0 {
        return Readers::Nobody;
    }
    // Does not wait, even if the path leads to a FIFO by now.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&resolved, flags, Mode::empty()).ok();
    let is_listed = opened.and_then(|it| lists_names(it, ACCESS_LIST));
    if is_listed == Some(true) {
        let who = "a user or a group of its access control list";
        return Readers::Found(who.to_owned(), "setfacl -b");
    }
    let (uid, name) = own_user(config);
    let own = User::look_up(&name.unwrap_or_else(|| uid.to_string()), uid);
    let owner = User::look_up(&found.uid().to_string(), found.uid());
    let group = config.place.directory().and_then(|it| it.group);
    let gid = found.gid();
    let is_known = gid == 0
        || [own.gid, owner.gid].contains(&gid)
        || own.groups.contains(&gid)
        || group == Some(gid);
    match (is_known, is_listed) {
        (false, _) => Readers::Found(format!("the group {gid}"), "chmod g-rwx"),
        (true, None) => Readers::Unknown,
        (true, Some(_)) => Readers::Nobody,
    }
}

/// Whether every user can read a file, by permissions alone.
fn is_readable(path: &Path) -> bool {
    let has = |path: &Path, right: u32| {
        std::fs::metadata(path).is_ok_and(|found| found.mode() & right != 0)
    };
    let Ok(path) = std::fs::canonicalize(path) else { return false };
    has(&path, 0o004) && path.ancestors().skip(1).all(|above| has(above, 0o001))
}
