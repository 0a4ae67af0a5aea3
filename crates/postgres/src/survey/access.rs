//! `pg_hba.conf` and `pg_ident.conf` themselves, where they can be read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::configuration::configured;
use super::data_directory;
use crate::sql::{self, HbaRule, Line, Mapping, Standing, parse_hba, parse_ident};
use pgsvid_base::files;

/// How deep files may include each other (PostgreSQL: `CONF_FILE_MAX_DEPTH`).
const DEEPEST: usize = 10;
/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;
/// How many files are read for one (and entries of a directory looked at), and how many bytes of them: those that include each
/// other could go on for ever.
const MOST: Budget = Budget { files: 1000, bytes: 4 * LARGEST, nul: None, read: Vec::new() };

/// Who may log in, as the files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `pg_hba.conf`
    pub hba: PathBuf,
    /// Its rules, in order.
    pub rules: Vec<HbaRule>,
    /// `pg_ident.conf`
    pub ident: PathBuf,
    /// Its mappings; `None` if it cannot be read.
    pub mappings: Option<Vec<Mapping>>,
    /// File and line of the first NUL byte in either. PostgreSQL passes over the rest of such a line, and takes the next one for a
    /// part of it, so what is said here of its file is not what PostgreSQL reads.
    pub nul: Option<(PathBuf, usize)>,
    /// All files that they come from.
    pub files: Vec<PathBuf>,
}

/// Reads the files; `None` if `pg_hba.conf` cannot be found for certain, or not be read.
///
/// A plain role may not see the settings `hba_file` and `ident_file`; then the server's own command line and
/// configuration files are looked into, which its uid may read.
#[must_use]
pub fn access(socket: &sql::Settings, standing: Option<&Standing>) -> Option<Access> {
    let told = |name: &str| standing.and_then(|standing| standing.setting(name)).map(PathBuf::from);
    let data = data_directory(socket);
    let find = |name: &str, default: &str| {
        told(name).or_else(|| data.as_deref().and_then(|data| configured(data, name, default)))
    };
    let hba = find("hba_file", "pg_hba.conf")?;
    let ident = find("ident_file", "pg_ident.conf");
    let (mut of_hba, mut of_ident) = (MOST, MOST);
    let rules = collect(&hba, 0, parse_hba, &mut of_hba)?;
    let mut files: Vec<PathBuf> = listed(&rules).into_iter().collect();
    let rules = rules
        .into_iter()
        .map(|(path, rule)| HbaRule {
            file: (path != hba).then(|| path.display().to_string()),
            ..rule
        })
        .collect();
    let mappings = ident
        .as_deref()
        .and_then(|ident| collect(ident, 0, parse_ident, &mut of_ident))
        .map(|found| found.into_iter().map(|(_, mapping)| mapping).collect());
    let ident = ident.unwrap_or_else(|| PathBuf::from("pg_ident.conf"));
    files.extend(of_hba.read.into_iter().chain(of_ident.read));
    Some(Access { hba, rules, ident, mappings, nul: of_hba.nul.or(of_ident.nul), files })
}

/// The files that lists of databases and roles are in (`@file`), and those that these name.
fn listed(rules: &[(PathBuf, HbaRule)]) -> BTreeSet<PathBuf> {
    fn add(found: &mut BTreeSet<PathBuf>, beside: &Path, word: &str) {
        let Some(name) = word.strip_prefix('@').filter(|name| !name.is_empty()) else { return };
        let path = beside.parent().unwrap_or(Path::new("/")).join(name.trim_matches('"'));
        if found.len() < MOST.files
            && found.insert(path.clone())
            && let Ok(text) = files::text(&path, LARGEST)
        {
            let words = text.split(|c: char| c.is_whitespace() || c == ',');
            words.for_each(|word| add(found, &path, word));
        }
    }
    let mut found = BTreeSet::new();
    for (path, rule) in rules {
        rule.databases.iter().chain(&rule.users).for_each(|word| add(&mut found, path, word));
    }
    found
}

/// What is left to be read.
#[derive(Debug)]
struct Budget {
    files: usize,
    bytes: u64,
    /// File and line of the first NUL byte that was read.
    nul: Option<(PathBuf, usize)>,
    /// What was read.
    read: Vec<PathBuf>,
}

impl Budget {
    /// Reads a file, if enough is left for it; else nothing is left.
    fn read(&mut self, path: &Path) -> Option<String> {
        self.files = self.files.checked_sub(1)?;
        let text = files::text(path, LARGEST).ok()?;
        let Some(left) = self.bytes.checked_sub(text.len() as u64) else {
            self.files = 0;
            return None;
        };
        self.bytes = left;
        self.read.push(path.to_owned());
        if let Some(line) = text.split('\n').position(|line| line.contains('\0')) {
            self.nul.get_or_insert_with(|| (path.to_owned(), line + 1));
        }
        Some(text)
    }
}

/// The entries of a file and of those that it includes, in their order. `None` if it cannot be read, or not all of it
/// can within the budget: a part would be misjudged.
fn collect<T>(
    path: &Path,
    depth: usize,
    parse: fn(&str) -> Vec<Line<T>>,
    budget: &mut Budget,
) -> Option<Vec<(PathBuf, T)>> {
    let mut found = Vec::new();
    for line in parse(&budget.read(path)?) {
        let include = match line {
            Line::Entry(entry) => {
                found.push((path.to_owned(), entry));
                continue;
            }
            Line::Include(include) => path.parent().unwrap_or(Path::new("/")).join(include),
        };
        let files = match std::fs::read_dir(&include) {
            Ok(listing) => {
                budget.read.push(include.clone());
                let entries: Vec<_> = listing.flatten().take(MOST.files + 1).collect();
                if entries.len() > MOST.files {
                    budget.files = 0;
                    return None;
                }
                let mut files: Vec<PathBuf> = entries
                    .iter()
                    .map(std::fs::DirEntry::path)
                    .filter(|file| file.extension().is_some_and(|extension| extension == "conf"))
                    .collect();
                files.sort_unstable();
                files
            }
            Err(_) => vec![include],
        };
        for file in files.iter().filter(|_| depth < DEEPEST) {
            found.extend(collect(file, depth + 1, parse, budget).unwrap_or_default());
            if budget.files == 0 {
                return None;
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a06_files_that_include_each_other_come_to_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg_hba.conf");
        let write = |text: &str| {
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        write("local all all peer\ninclude_if_exists other.conf\n");
        let found = collect(&path, 0, parse_hba, &mut { MOST }).unwrap();
        assert_eq!(found.len(), 1);
        // Ten levels of a thousand lines each would be more than anybody can wait for.
        write(&"include pg_hba.conf\n".repeat(1000));
        let mut budget = MOST;
        assert_eq!(collect(&path, 0, parse_hba, &mut budget), None);
        assert_eq!(budget.files, 0);
    }
}
