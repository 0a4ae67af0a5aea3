//! The file of `ident_file` in remedies: where its lines are written, and what makes a change count.
//!
//! pgsvid restores a map that it publishes within a second. A remedy about such a file therefore names pgsvid's configuration,
//! and a restart of pgsvid.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::sql::Mapping;

/// The file of `ident_file`, and the files that it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapFile {
    /// Its path, or its usual name if only that is known.
    pub path: PathBuf,
    /// Those of these files that pgsvid publishes.
    pub published: Vec<PathBuf>,
}

/// The name of the file, without directories: the heading of a section has the path.
impl fmt::Display for MapFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.path))
    }
}

impl MapFile {
    /// Where the line stands, for messages.
    #[must_use]
    pub fn place(&self, mapping: &Mapping) -> String {
        format!("{} line {}", name(self.file(mapping)), mapping.line)
    }

    /// The advice to add these lines, without what makes them count: `add … to …`.
    #[must_use]
    pub fn add(&self, lines: &[&str]) -> String {
        let published = self.publishes_itself();
        let quoted: Vec<String> = lines
            .iter()
            .map(|line| if published { format!("`{}`", toml(line)) } else { format!("`{line}`") })
            .collect();
        let lines = quoted.join(" and ");
        if published {
            format!(
                "add {lines} to the list files.ident_lines in pgsvid's configuration, and restart pgsvid, which publishes {self} \
                 and restores it"
            )
        } else {
            format!("add {lines} to {self}")
        }
    }

    /// What to edit instead of the line, for remedies.
    #[must_use]
    pub fn source(&self, mapping: &Mapping) -> String {
        let place = self.place(mapping);
        if self.publishes(self.file(mapping)) {
            format!("the entry of files.ident_lines or [[roles]] that pgsvid writes as {place}")
        } else {
            place
        }
    }

    /// What makes a change of the line count, in a remedy that edits its [`source`](Self::source()).
    #[must_use]
    pub fn then(&self, mapping: &Mapping) -> &'static str {
        if self.publishes(self.file(mapping)) { "then restart pgsvid" } else { "then reload" }
    }

    /// Whether pgsvid publishes the file of `ident_file` itself.
    #[must_use]
    pub fn publishes_itself(&self) -> bool {
        self.publishes(&self.path)
    }

    /// Whether pgsvid publishes the file that has this line.
    #[must_use]
    pub fn has_published(&self, mapping: &Mapping) -> bool {
        self.publishes(self.file(mapping))
    }

    fn file<'a>(&'a self, mapping: &'a Mapping) -> &'a Path {
        mapping.file.as_deref().map_or(&self.path, Path::new)
    }

    fn publishes(&self, path: &Path) -> bool {
        self.published.iter().any(|published| published == path)
    }
}

/// The advice to add a line to the map of a server whose files are not known here, without what makes it count.
#[must_use]
pub(super) fn add_to_unseen_map(line: &str) -> String {
    format!(
        "add `{line}` to the file that ident_file names there, or to files.ident_lines if a pgsvid publishes that file"
    )
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The line as a string of TOML.
fn toml(line: &str) -> String {
    if line.contains('\'') {
        format!("\"{}\"", line.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("'{line}'")
    }
}
