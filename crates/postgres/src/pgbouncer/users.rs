//! The names in PgBouncer's `auth_file`.

use std::path::Path;

use super::settings::Settings;
use pgsvid_base::files;

/// Largest file of users that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The first names in `auth_file`, at most `most`; none if it cannot be read. The file belongs to PgBouncer's user: call it only as
/// that user. Passwords are not kept.
#[must_use]
pub fn users(settings: &Settings, most: usize) -> Vec<String> {
    let path = Path::new(settings.value("auth_file"));
    let bytes = if path.is_absolute() { files::read(path, LARGEST).ok() } else { None };
    let text = bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    // "name" "password"
    let name =
        |line: &str| Some(line.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned());
    text.lines().filter_map(name).take(most).collect()
}
