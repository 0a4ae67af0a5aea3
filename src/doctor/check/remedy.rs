//! Commands about files that other users may have named, or may exchange before somebody pastes the command.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use super::exchangeable::{NamedBy, as_owner, why_exchangeable};
use crate::survey;
use crate::text::argument;

/// The advice to remove a keyword from a service file. pgsvid restores one that it publishes.
pub(super) fn without_keyword(keyword: &str, file: &Path) -> String {
    if survey::is_published(file) {
        format!(
            "remove {keyword} from files.service.options in pgsvid's configuration, and restart pgsvid, which publishes {} and restores it",
            file.display()
        )
    } else {
        format!("remove {keyword} from the service in {}", file.display())
    }
}

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
