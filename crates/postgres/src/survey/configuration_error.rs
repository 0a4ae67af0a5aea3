//! What keeps a server from loading its configuration files, for roles that may not ask it (PostgreSQL: `guc-file.l`): an include
//! that cannot be followed, and lines that are no settings. Only what is certain is told.

use std::io::ErrorKind;
use std::path::Path;

use super::configuration::{DEEPEST, LARGEST, MOST, Start, entry};
use super::naming::named_in;
use super::server_process::has_the_same_mounts;
use crate::sql;
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// The first error in the files: file, line and reason, shortened and escaped. `None` if there is none that is certain, or if the
/// files cannot be found.
#[must_use]
pub fn configuration_error(socket: &sql::Settings) -> Option<String> {
    let start = Start::of(socket).filter(Start::is_certain)?;
    let same_mounts = has_the_same_mounts(socket);
    let mut search = Search { left: MOST, start: &start, same_mounts };
    start.roots()?.iter().find_map(|root| search.in_file(root, 0)).map(|found| shown(&found))
}

struct Search<'a> {
    /// How many files may still be read.
    left: usize,
    start: &'a Start,
    /// Whether a path leads to the same file for the server.
    same_mounts: bool,
}

impl Search<'_> {
    /// The first error in a file that can be read, and in what it includes.
    fn in_file(&mut self, path: &Path, depth: usize) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        if self.start.is_secret(path) {
            return None;
        }
        let text = files::text(path, LARGEST).ok().filter(|text| !text.contains('\0'))?;
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            if is_wrong(line) {
                return Some(format!("{place}: this line is not `name = value`"));
            }
            let Some((name, Some(value))) = entry(line) else { continue };
            let name = name.to_ascii_lowercase();
            if !["include", "include_dir", "include_if_exists"].contains(&name.as_str()) {
                continue;
            }
            let Ok(target) = named_in(path, &value) else { continue };
            let found = if name == "include_dir" {
                self.in_directory(&target, depth)
            } else {
                self.in_included(&target, name == "include_if_exists", depth)
            };
            match found {
                Some(Found::Here(why)) => {
                    return Some(format!("{place}: it includes {}: {why}", target.display()));
                }
                Some(Found::There(found)) => return Some(found),
                None => {}
            }
        }
        None
    }

    fn in_included(&mut self, target: &Path, if_exists: bool, depth: usize) -> Option<Found> {
        let opened = files::beginning(target, 1).map(drop);
        if if_exists && opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return None;
        }
        match self.why_unread(opened) {
            Some(why) => Some(Found::Here(why)),
            None if depth >= DEEPEST => Some(Found::Here("files include each other".to_owned())),
            None => self.in_file(target, depth + 1).map(Found::There),
        }
    }

    fn in_directory(&mut self, target: &Path, depth: usize) -> Option<Found> {
        let entries = match std::fs::read_dir(target) {
            Ok(entries) => entries,
            Err(error) => return self.why_unread(Err(error)).map(Found::Here),
        };
        let mut named: Vec<_> = entries
            .take(MOST)
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().as_encoded_bytes();
                name.ends_with(b".conf") && !name.starts_with(b".") && path.is_file()
            })
            .collect();
        named.sort_unstable();
        named.iter().find_map(|path| self.in_included(path, false, depth))
    }

    /// Why the server cannot open it, either; `None` if it can, or if that is not certain.
    fn why_unread(&self, opened: std::io::Result<()>) -> Option<String> {
        let error = opened.err()?;
        let is_certain = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => self.same_mounts,
            ErrorKind::PermissionDenied => self.start.is_own() && self.same_mounts,
            _ => false,
        };
        is_certain.then(|| error.to_string())
    }
}

/// Where an error was found.
enum Found {
    /// In the line that includes: the reason.
    Here(String),
    /// In the included file: place and reason.
    There(String),
}

/// Whether a line is certainly no setting, comment or blank: it does not begin with a name, has no value, has an open quotation
/// mark, or has more words after its value.
fn is_wrong(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return false;
    }
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    if !line.starts_with(is_letter) {
        return true;
    }
    let is_name = |c: char| is_letter(c) || c.is_ascii_digit() || matches!(c, '.' | '$');
    let rest = line.trim_start_matches(is_name).trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let after = if let Some(quoted) = rest.strip_prefix('\'') {
        match after_quoted(quoted) {
            Some(after) => after,
            None => return true,
        }
    } else {
        let end = rest.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(rest.len());
        if end == 0 {
            return true;
        }
        &rest[end..]
    };
    let after = after.trim_start();
    !after.is_empty() && !after.starts_with('#')
}

/// What follows the closing quotation mark; `None` if there is none.
fn after_quoted(text: &str) -> Option<&str> {
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '\'' if rest.next_if(|(_, c)| *c == '\'').is_none() => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b140_a_line_that_is_no_setting_is_reported_and_no_other_one() {
        for line in [
            "",
            "  # x",
            "a = 1",
            "a=1# c",
            "a 1",
            "a.b = 'it''s' # c",
            r"a = 'x\'y'",
            "a = 5min",
            "a = -1",
            "a = UTF-8",
            "include = 'x y'",
            "shared_preload_libraries = 'a,b'\t",
            "a = ''",
        ] {
            assert!(!is_wrong(line), "{line}");
        }
        for line in
            ["foo bar baz", "a", "a =", "a = 'x", "@include", "= 1", "a = '1' 2", "a = 1 XB"]
        {
            assert!(is_wrong(line), "{line}");
        }
    }
}
