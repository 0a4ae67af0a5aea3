//! The operating-system user that pgsvid runs as.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::Config;
use crate::files;

/// Largest user database that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The user ID that publishes, otherwise the one that runs `check`, and its name.
pub(super) fn own_user(config: &Config) -> (u32, Option<String>) {
    let generation = config.place.directory().map(|it| it.directory.join("..data"));
    let generation = generation.and_then(|path| std::fs::metadata(path).ok());
    let uid = generation
        .map_or_else(|| rustix::process::geteuid().as_raw(), |generation| generation.uid());
    let users = files::text(Path::new("/etc/passwd"), LARGEST).unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    (uid, name)
}
