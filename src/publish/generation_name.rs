//! The names of generations: `..v<stamp>-<random>`.

use std::time::SystemTime;

use crate::timing;

/// Every generation's directory begins with this, and nothing else that pgsvid creates does.
pub(super) const PREFIX: &str = "..v";

/// The suffix of a generation's directory while it is written or removed.
pub(super) const UNFINISHED: &str = ".part";

/// `..v<stamp>-<random>`: sorts by time, and is never used twice.
pub(super) fn fresh_name() -> String {
    let stamp: String = humantime::format_rfc3339_millis(timing::now())
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':' | '.'))
        .collect();
    format!("{PREFIX}{stamp}-{:08x}", fastrand::u32(..))
}

/// When the generation with this name was written, by the clock of that time.
pub(super) fn named_at(name: &str) -> Option<SystemTime> {
    let stamp = name.strip_prefix(PREFIX)?.get(..18)?;
    let part = |from: usize, to: usize| stamp.get(from..to);
    let text = format!(
        "{}-{}-{}T{}:{}:{}.{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(9, 11)?,
        part(11, 13)?,
        part(13, 15)?,
        part(15, 18)?
    );
    humantime::parse_rfc3339(&text).ok()
}

/// Whether its name marks it as incomplete.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}
