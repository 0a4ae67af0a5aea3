//! The file of rules of `auth_type = hba`, as PgBouncer reads it (PgBouncer: `hba.c`).

use std::path::{Path, PathBuf};

use super::settings::Settings;
use crate::sql::{HbaRule, Include, Line, parse_hba};
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// Largest file of rules that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The rules of `auth_type = hba`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// The file, and its lines.
    Read(PathBuf, Vec<Line<HbaRule>>),
    /// The file cannot be judged, with the reason.
    Unread(String),
}

/// The file of rules, read; `None` if PgBouncer uses none. `may_read` says whether PgBouncer's user is this process's: a file
/// that another user names may be a secret.
#[must_use]
pub fn rules(settings: &Settings, may_read: bool) -> Option<Rules> {
    if settings.value("auth_type") != "hba" {
        return None;
    }
    let path = Path::new(settings.value("auth_hba_file"));
    let named = shown(&path.display().to_string());
    Some(if !may_read {
        Rules::Unread("another user than PgBouncer's runs this".to_owned())
    } else if path.is_absolute() {
        match files::text(path, LARGEST) {
            Ok(text) => Rules::Read(path.to_owned(), parse(&text)),
            Err(error) => Rules::Unread(format!("{named} cannot be read from here: {error}")),
        }
    } else {
        Rules::Unread(format!("auth_hba_file is no absolute path: \"{named}\""))
    })
}

/// The lines of a file of rules. In PostgreSQL's a backslash at a line's end joins it with the next one; PgBouncer reads each
/// line by itself, and a comment cannot hide the next one (PgBouncer: `hba.c`, `hba_load_rules`).
pub(super) fn parse(text: &str) -> Vec<Line<HbaRule>> {
    let joined = "it ends with a backslash, which joins no lines for PgBouncer";
    let each = (1..).zip(text.split('\n')).flat_map(|(number, line)| {
        let is_joined = line.trim_end().ends_with('\\');
        let read = parse_hba(line);
        let is_comment = read.is_empty();
        let line = |line| match line {
            Line::Entry(rule) => Line::Entry(HbaRule { line: number, ..rule }),
            Line::Include(include) => Line::Include(Include { line: number, ..include }),
            Line::Unclear(_, why) => Line::Unclear(number, why),
        };
        let unclear = (is_joined && !is_comment).then_some(Line::Unclear(number, joined));
        read.into_iter().map(line).chain(unclear).collect::<Vec<_>>()
    });
    each.collect()
}
