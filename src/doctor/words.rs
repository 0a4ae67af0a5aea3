//! Foreign texts and times, made safe for a terminal and for pasting.

use std::path::Path;
use std::time::SystemTime;

use crate::text::{self, ascii};
use crate::timing;

/// A path, which the user of the command chose.
pub(super) fn path(path: &Path) -> String {
    for_pasting(&path.to_string_lossy())
}

/// A foreign text for pasting: unchanged, whole and in any script, if it only contains letters, digits and ASCII.
pub(super) fn for_pasting(text: &str) -> String {
    let plain = |c: char| !c.is_control() && (c.is_ascii() || c.is_alphanumeric());
    if text.chars().all(plain) { text.to_owned() } else { ascii(text) }
}

/// A path for a shell's command line.
pub(super) fn for_shell(path: &Path) -> String {
    // It must not look like an option.
    if path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        text::argument(Path::new(".").join(path))
    } else {
        text::argument(path)
    }
}

/// A token of `pg_ident.conf`: in quotation marks, with those within it doubled (PostgreSQL: `hba.c`, `next_token`).
pub(super) fn for_pg_ident(token: &str) -> String {
    format!("\"{}\"", token.replace('"', "\"\""))
}

/// How many lines a finding names.
pub(super) const MOST_LINES: usize = 5;

/// Line numbers, as many as a finding names.
pub(super) fn listed(lines: &[u32]) -> String {
    let more = lines.len().saturating_sub(MOST_LINES);
    let named: Vec<String> = lines.iter().take(MOST_LINES).map(u32::to_string).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// When a validity ends, relative to `now`: `41m left`.
pub(super) fn remaining(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> String {
    if let Ok(wait) = not_before.duration_since(now)
        && !wait.is_zero()
    {
        return format!("begins in {}", timing::roughly(wait));
    }
    match not_after.duration_since(now) {
        Ok(left) if !left.is_zero() => format!("{} left", timing::roughly(left)),
        _ => {
            let ago = now.duration_since(not_after).unwrap_or_default();
            format!("expired {} ago", timing::roughly(ago))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_cannot_act() {
        assert_eq!(ascii("a b"), "a b");
        assert_eq!(ascii("\x1b[31mé\n"), "\\u{1b}[31m\\u{e9}\\n");
        assert_eq!(ascii(&"x".repeat(501)).chars().count(), 501);
    }

    #[test]
    fn quoting() {
        assert_eq!(for_shell(Path::new("/a/b.pem")), "/a/b.pem");
        assert_eq!(for_shell(Path::new("a b")), "'a b'");
        assert_eq!(for_shell(Path::new("-x")), "./-x");
        assert_eq!(for_pg_ident("CN=a\\\"b,C=US"), "\"CN=a\\\"\"b,C=US\"");
    }
}
