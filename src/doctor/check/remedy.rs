//! Commands about files that other users may have named, or may exchange before somebody pastes the command.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use super::exchangeable::{NamedBy, why_exchangeable};
use crate::text::argument;

/// The command about this file, run as the file's owner: by a link that somebody puts there it reaches no file of another user.
/// `None` for a file of root's if other users can exchange a part of its path.
pub(super) fn on_file(command: &str, path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    if found.uid() == 0 && why_exchangeable(path, 0, NamedBy::Operator).is_some() {
        return None;
    }
    let is_own = found.uid() == geteuid().as_raw();
    let user = if is_own { String::new() } else { as_owner(&found) };
    Some(format!("{user}{command} {}", argument(path)))
}

/// The prefix that makes root run a command as the owner, with a blank at its end; empty for root. As root, the command could
/// follow a link that the owner has made.
pub(super) fn as_owner(owned: &Metadata) -> String {
    match (owned.uid(), owned.gid()) {
        (0, _) => String::new(),
        (uid, gid) => format!("setpriv --reuid={uid} --regid={gid} --clear-groups "),
    }
}
