//! Reads `pg_hba.conf` and `pg_ident.conf`, where pgsvid may read them.

use std::io;
use std::path::{Path, PathBuf};

use super::configuration::Start;
use super::data_directory;
use super::following::is_published;
use super::naming::named_in;
use super::server_unreadable::Reader;
use crate::sql::{
    self, HbaRule, Line, Mapping, RoleRights, list_file, parse_hba, parse_ident, parse_list,
};
use pgsvid_base::files;

/// How deeply files may include each other (PostgreSQL: `CONF_FILE_MAX_DEPTH`).
const DEEPEST: usize = 10;
/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Most files that are read for one of the two files, and most entries of a directory; then most bytes of these files. Without
/// limits, files that include each other would be read for ever.
const MOST_FILES: usize = 1000;
const MOST_BYTES: u64 = 4 * LARGEST;

/// Who may log in, according to the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `pg_hba.conf`
    pub hba: PathBuf,
    /// Its rules, in order. Lists in files are part of the rules that name them.
    pub rules: Vec<HbaRule>,
    /// `pg_ident.conf`
    pub ident: PathBuf,
    /// Its mappings; `None` if it cannot be read.
    pub mappings: Option<Vec<Mapping>>,
    /// Those of the files with mappings that a pgsvid publishes.
    pub published: Vec<PathBuf>,
    /// The lines of both files that pgsvid does not understand.
    pub unclear: Vec<Unclear>,
    /// File and line of the first NUL byte in either. PostgreSQL ignores the rest of such a line, and appends the next line to
    /// it. So it reads other rules and mappings than these.
    pub nul: Option<(PathBuf, usize)>,
    /// All files that decide about the result: those that were read, directories of `include_dir`, and missing files of
    /// `include_if_exists`. Also files of other users that PostgreSQL's user cannot read; pgsvid has not read them either.
    pub files: Vec<PathBuf>,
}

/// A line that pgsvid does not understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// `pg_hba.conf` or `pg_ident.conf`
    pub of: &'static str,
    /// The file that contains it.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// The reason.
    pub why: String,
}

/// Reads the files. `None` if `pg_hba.conf` cannot be found or read, or is too large to be judged. If only the usual place of
/// a file is known, that file is read, and [`super::loading()`] reports the setting as unknown.
///
/// A plain role may not see the settings `hba_file` and `ident_file`. Then the server's command line and configuration files
/// are read, if this process's user may.
#[must_use]
pub fn access(socket: &sql::Settings, standing: Option<&RoleRights>) -> Option<Access> {
    let queried =
        |name: &str| standing.and_then(|standing| standing.setting(name)).map(PathBuf::from);
    let data = data_directory(socket);
    let start = Start::of(socket);
    let find = |name: &str, default: &str| {
        queried(name).or_else(|| Some(start.as_ref()?.configured(name, default)?.path))
    };
    let hba = find("hba_file", "pg_hba.conf")?;
    let ident = find("ident_file", "pg_ident.conf");
    let includes = data.as_deref().is_none_or(can_include);
    let homes: Vec<PathBuf> = [Some(&hba), ident.as_ref()]
        .into_iter()
        .filter_map(|path| path?.parent())
        .chain(data.as_deref())
        .map(Path::to_owned)
        .collect();
    let reader = Reader::of(socket, &homes);
    let mut of_hba = Reading::of("pg_hba.conf", includes, reader.as_ref());
    let mut rules = Vec::new();
    match of_hba.collect(&hba, 0, parse_hba, &mut rules) {
        Ok(()) | Err(Error::Secret) => {}
        Err(_) => return None,
    }
    let rules = of_hba.with_lists(rules)?;
    let rules = rules
        .into_iter()
        .map(|(path, rule)| HbaRule {
            file: (path != hba).then(|| path.display().to_string()),
            ..rule
        })
        .collect();
    let mut of_ident = Reading::of("pg_ident.conf", includes, reader.as_ref());
    let mappings = ident.as_deref().and_then(|ident| {
        let mut found = Vec::new();
        of_ident.collect(ident, 0, parse_ident, &mut found).ok()?;
        let file = |path: PathBuf| (path != ident).then(|| path.display().to_string());
        Some(
            found
                .into_iter()
                .map(|(path, mapping)| Mapping { file: file(path), ..mapping })
                .collect(),
        )
    });
    let ident = ident.unwrap_or_else(|| PathBuf::from("pg_ident.conf"));
    let published =
        [&ident].into_iter().chain(&of_ident.budget.read).filter(|path| is_published(path));
    let published = published.cloned().collect();
    let nul = of_hba.budget.nul.or(of_ident.budget.nul);
    let files = of_hba.budget.read.into_iter().chain(of_ident.budget.read).collect();
    of_hba.unclear.append(&mut of_ident.unclear);
    Some(Access { hba, rules, ident, mappings, published, unclear: of_hba.unclear, nul, files })
}

/// The path of `pg_hba.conf`, if it can be read but is too large to be judged, or names too many files.
#[must_use]
pub fn too_much(socket: &sql::Settings, standing: Option<&RoleRights>) -> Option<PathBuf> {
    let shown = standing.and_then(|standing| standing.setting("hba_file")).map(PathBuf::from);
    let hba =
        shown.or_else(|| Some(Start::of(socket)?.configured("hba_file", "pg_hba.conf")?.path))?;
    let data = data_directory(socket);
    let includes = data.as_deref().is_none_or(can_include);
    let homes: Vec<PathBuf> = hba.parent().map(Path::to_owned).into_iter().chain(data).collect();
    let reader = Reader::of(socket, &homes);
    let mut reading = Reading::of("pg_hba.conf", includes, reader.as_ref());
    let mut rules = Vec::new();
    let is_too_much = match reading.collect(&hba, 0, parse_hba, &mut rules) {
        Ok(()) => reading.with_lists(rules).is_none(),
        Err(Error::TooMuch) => true,
        Err(Error::Secret) => false,
        Err(_) => {
            std::fs::metadata(&hba).is_ok_and(|found| found.is_file() && found.len() > LARGEST)
        }
    };
    is_too_much.then_some(hba)
}

/// Whether the server version of this data directory knows lines that include files: from 16 on. True for an unknown version.
fn can_include(data: &Path) -> bool {
    let version = files::text(&data.join("PG_VERSION"), LARGEST).ok();
    version.and_then(|version| version.trim().parse().ok()).is_none_or(|version: u32| version >= 16)
}

/// What may still be read.
#[derive(Debug)]
struct Budget {
    files: usize,
    bytes: u64,
    /// File and line of the first NUL byte that was read.
    nul: Option<(PathBuf, usize)>,
    /// The files that were read.
    read: Vec<PathBuf>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Reading failed.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// Files include each other deeper than PostgreSQL follows.
    #[error("more than {DEEPEST} files include each other")]
    TooDeep,
    /// The server's user may not read it, and it is not its own: pgsvid prints none of its words.
    #[error("PostgreSQL's user may not read that file, so pgsvid does not read it either")]
    Secret,
    /// Nothing is left of the budget.
    #[error("there is too much to be read")]
    TooMuch,
}

impl Budget {
    /// Reads a file, if enough is left for it; else nothing is left.
    fn read(&mut self, path: &Path, reader: Option<&Reader>) -> Result<String, Error> {
        self.files = self.files.checked_sub(1).ok_or(Error::TooMuch)?;
        let is_secret = || reader.is_some_and(|reader| reader.is_secret(path));
        let text = if is_secret() { None } else { Some(files::text(path, LARGEST)?) };
        // Another file may have been put in its place while it was read.
        let Some(text) = text.filter(|_| !is_secret()) else {
            self.read.push(path.to_owned());
            return Err(Error::Secret);
        };
        let Some(left) = self.bytes.checked_sub(text.len() as u64) else {
            self.files = 0;
            return Err(Error::TooMuch);
        };
        self.bytes = left;
        self.read.push(path.to_owned());
        if let Some(line) = text.split('\n').position(|line| line.contains('\0')) {
            self.nul.get_or_insert_with(|| (path.to_owned(), line + 1));
        }
        Ok(text)
    }
}

/// Reads one of the two files, with everything that it includes.
#[derive(Debug)]
struct Reading<'a> {
    of: &'static str,
    /// Whether PostgreSQL knows lines that include files.
    includes: bool,
    /// The server's user, if this process runs as another one. pgsvid does not read what belongs to others and that user
    /// cannot read.
    reader: Option<&'a Reader>,
    budget: Budget,
    unclear: Vec<Unclear>,
}

impl<'a> Reading<'a> {
    fn of(of: &'static str, includes: bool, reader: Option<&'a Reader>) -> Self {
        let budget = Budget { files: MOST_FILES, bytes: MOST_BYTES, nul: None, read: Vec::new() };
        Self { of, includes, reader, budget, unclear: Vec::new() }
    }

    fn unclear(&mut self, file: &Path, line: u32, why: String) {
        self.unclear.push(Unclear { of: self.of, file: file.to_owned(), line, why });
    }

    /// The entries of a file and of those that it includes, in their order. Fails if it cannot be read, or if the budget does
    /// not allow all of it: a part would be misjudged.
    fn collect<T>(
        &mut self,
        path: &Path,
        depth: usize,
        parse: fn(&str) -> Vec<Line<T>>,
        found: &mut Vec<(PathBuf, T)>,
    ) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::TooDeep);
        }
        for line in parse(&self.budget.read(path, self.reader)?) {
            let include = match line {
                Line::Entry(entry) => {
                    found.push((path.to_owned(), entry));
                    continue;
                }
                Line::Unclear(line, why) => {
                    self.unclear(path, line, why.to_owned());
                    continue;
                }
                Line::Include(include) if !self.includes => {
                    let why = "it includes files, which PostgreSQL does from version 16 on";
                    self.unclear(path, include.line, why.to_owned());
                    continue;
                }
                Line::Include(include) => include,
            };
            let target = match named_in(path, &include.path) {
                Ok(target) => target,
                Err(error) => {
                    self.unclear(path, include.line, format!("it includes a file: {error}"));
                    continue;
                }
            };
            let files = if include.directory {
                self.budget.read.push(target.clone());
                listed(&target)
            } else {
                Ok(vec![target.clone()])
            };
            let read = files.and_then(|files| {
                files.iter().try_for_each(|file| self.collect(file, depth + 1, parse, found))
            });
            match read {
                Ok(()) => {}
                Err(Error::TooMuch) => return Err(Error::TooMuch),
                Err(Error::Unreadable(error))
                    if include.if_exists && error.kind() == io::ErrorKind::NotFound =>
                {
                    // The file counts, because anyone who can create it later chooses its contents.
                    self.budget.read.push(target);
                }
                Err(error) => {
                    let why = format!("it includes {}: {error}", target.display());
                    self.unclear(path, include.line, why);
                }
            }
        }
        Ok(())
    }

    /// The rules with the words of the files (`@`) that their lists name; `None` if the budget does not allow it.
    fn with_lists(&mut self, rules: Vec<(PathBuf, HbaRule)>) -> Option<Vec<(PathBuf, HbaRule)>> {
        let mut found = Vec::new();
        for (path, mut rule) in rules {
            let lists = [&mut rule.databases, &mut rule.users];
            let read = lists.into_iter().try_for_each(|list| {
                if list.iter().any(|word| list_file(word).is_some()) {
                    let words = std::mem::take(list);
                    self.budget.expand(&path, words, 0, list, self.reader)?;
                }
                Ok(())
            });
            match read {
                Ok(()) if rule.databases.is_empty() || rule.users.is_empty() => self.unclear(
                    &path,
                    rule.line,
                    "it names a file (@) that is empty, so PostgreSQL uses the next word as its list".to_owned(),
                ),
                Ok(()) => found.push((path, rule)),
                Err(Error::TooMuch) => return None,
                Err(error) => {
                    let why = format!("it names a file (@) that cannot be read: {error}");
                    self.unclear(&path, rule.line, why);
                }
            }
        }
        Some(found)
    }
}

impl Budget {
    fn expand(
        &mut self,
        outer: &Path,
        words: Vec<String>,
        depth: usize,
        list: &mut Vec<String>,
        reader: Option<&Reader>,
    ) -> Result<(), Error> {
        for word in words {
            let Some(file) = list_file(&word) else {
                list.push(word);
                continue;
            };
            if depth == DEEPEST {
                return Err(Error::TooDeep);
            }
            let file = named_in(outer, file)?;
            let words = parse_list(&self.read(&file, reader)?).map_err(io::Error::other)?;
            self.expand(&file, words, depth + 1, list, reader)?;
        }
        Ok(())
    }
}

/// The files of a directory, as PostgreSQL lists them (`conffiles.c`, `GetConfFilesInDir`).
fn listed(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries: Vec<_> = std::fs::read_dir(directory)?.flatten().take(MOST_FILES + 1).collect();
    if entries.len() > MOST_FILES {
        return Err(Error::TooMuch);
    }
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.ends_with(b".conf") && !name.starts_with(b".") && !path.is_dir()
    };
    let mut files: Vec<PathBuf> =
        entries.iter().map(std::fs::DirEntry::path).filter(named).collect();
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a06_files_that_include_each_other_come_to_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg_hba.conf");
        let collect = |found: &mut Vec<_>| {
            let mut reading = Reading::of("pg_hba.conf", true, None);
            (reading.collect(&path, 0, parse_hba, found), reading)
        };
        write(&path, "local all all peer\ninclude_if_exists other.conf\n");
        let mut found = Vec::new();
        let (read, reading) = collect(&mut found);
        assert!(read.is_ok() && reading.unclear.is_empty() && found.len() == 1);
        // Ten levels of a thousand lines each would take too long.
        write(&path, &"include pg_hba.conf\n".repeat(1000));
        let (read, reading) = collect(&mut Vec::new());
        assert!(matches!(read, Err(Error::TooMuch)) && reading.budget.files == 0);
        // Files that are too deep are reported.
        write(&path, "include pg_hba.conf\n");
        let (read, reading) = collect(&mut Vec::new());
        assert!(read.is_ok() && reading.unclear.len() == 1, "{reading:?}");
    }

    #[test]
    fn a76_what_a_line_names_and_cannot_be_read_makes_it_unclear() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        write(&at("users"), "app, \"all\" @more # and\n+dba\n");
        write(&at("more"), "svc\n");
        write(&at("empty"), "# nobody\n");
        write(&at("loop"), "@loop\n");
        write(&at("included"), "local db app trust\n");
        write(&at("more.conf"), "local more app trust\n");
        write(&at(".hidden.conf"), "local hidden app trust\n");
        for (line, users) in [
            ("local all @users peer", Ok("app,\"all\",svc,+dba")),
            ("local all x,@more peer", Ok("x,svc")),
            ("local @more all peer", Ok("all")),
            ("local all \"@more\" peer", Ok("\"@more\"")),
            ("local all @nowhere peer", Err("@nowhere")),
            ("local @nowhere all peer", Err("@nowhere")),
            ("local all @empty peer", Err("empty")),
            ("local all @loop peer", Err("include each other")),
            ("include included", Ok("app")),
            ("include_dir .", Ok("app")),
            ("include nowhere", Err("nowhere")),
            ("include_dir nowhere", Err("nowhere")),
            ("include .", Err("directory")),
        ] {
            write(&at("pg_hba"), &format!("{line}\n"));
            let mut reading = Reading::of("pg_hba.conf", true, None);
            let mut rules = Vec::new();
            reading.collect(&at("pg_hba"), 0, parse_hba, &mut rules).unwrap();
            let rules = reading.with_lists(rules).unwrap();
            match users {
                Ok(users) => {
                    assert_eq!(reading.unclear, [], "{line}");
                    assert_eq!(rules[0].1.users.join(","), users, "{line}");
                    assert_eq!(rules.len(), 1, "{line}");
                }
                Err(_) => {
                    assert!(rules.is_empty() && reading.unclear.len() == 1, "{line}: {reading:?}");
                }
            }
        }
    }
}
