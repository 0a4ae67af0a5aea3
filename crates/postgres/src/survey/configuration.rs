//! Settings that name files, read from a server's command line and its configuration files (PostgreSQL: `guc-file.l`), for
//! roles that may not query them. An unknown value is never guessed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::naming::{named_in, without_parents};
use super::server_process;
use super::server_unreadable::Reader as ServersUser;
use crate::sql::{self, OTHER_SETTINGS, Setting, TLS_SETTINGS};
use pgsvid_base::files;

/// Largest file that is read, in bytes.
pub(super) const LARGEST: u64 = 1024 * 1024;
/// How many files are read at most.
pub(super) const MOST: usize = 200;
/// How deeply files may include each other (PostgreSQL: `CONF_FILE_MAX_DEPTH`).
pub(super) const DEEPEST: usize = 10;

/// How a server was started, as far as pgsvid can tell.
pub(super) struct Start {
    data: PathBuf,
    arguments: Vec<String>,
    /// The directory of its configuration, by default.
    directory: PathBuf,
    /// Whether that is certain. Otherwise it is the data directory, where the configuration usually is.
    certain: bool,
    /// The server's user, if this process runs as another one.
    reader: Option<ServersUser>,
}

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    /// Whether the server certainly reads that file.
    pub(super) certain: bool,
}

impl Start {
    /// The start of the server behind a socket; `None` if nothing is known of it.
    pub(super) fn of(socket: &sql::Settings) -> Option<Self> {
        let data = super::data_directory(socket)?;
        let environment = server_process::configuration_directory(socket);
        let mut start = Self::new(data, environment.as_deref())?;
        start.reader = ServersUser::of(socket, &[start.data.clone(), start.directory.clone()]);
        Some(start)
    }

    /// `environment` is the directory in the server's environment (`PGDATA`), if it can be read.
    fn new(data: PathBuf, environment: Option<&Path>) -> Option<Self> {
        let arguments = arguments(&data)?;
        let (directory, certain) = match directory(&arguments).or(environment) {
            Some(named) if named.is_absolute() => (without_parents(named).ok()?, true),
            Some(named) => {
                // It is relative to the directory where the postmaster was started, which is unknown.
                let named: PathBuf =
                    named.components().filter(|part| *part != Component::CurDir).collect();
                data.ends_with(named).then(|| (data.clone(), false))?
            }
            None => (data.clone(), false),
        };
        Some(Self { data, arguments, directory, certain, reader: None })
    }

    /// The file that `setting` names, or `default` without that setting; `None` if unknown.
    pub(super) fn configured(&self, setting: &str, default: &str) -> Option<Named> {
        if let Some(path) = option(&self.arguments, setting) {
            return Some(Named { path: absolute(path)?, certain: true });
        }
        let reader = self.read(setting)?;
        Some(match reader.found {
            Some(path) if !path.is_empty() => {
                Named { path: absolute(&path)?, certain: self.is_certain() }
            }
            _ => Named { path: self.directory.join(default), certain: self.certain },
        })
    }

    /// Whether the command line sets it, which overrides the files.
    pub(super) fn is_fixed(&self, setting: &str) -> bool {
        option(&self.arguments, setting).is_some()
    }

    /// The configuration files and directories, in the order in which the server reads them; `None` if not all can be found
    /// and read.
    pub(super) fn files(&self) -> Option<Vec<PathBuf>> {
        Some(self.read("")?.files)
    }

    /// Whether the server certainly reads these configuration files.
    pub(super) fn is_certain(&self) -> bool {
        self.certain || option(&self.arguments, "config_file").is_some()
    }

    /// The first file that the server reads, and the one of ALTER SYSTEM, if it exists.
    pub(super) fn roots(&self) -> Option<Vec<PathBuf>> {
        let configuration = match option(&self.arguments, "config_file") {
            Some(path) => absolute(path)?,
            None => self.directory.join("postgresql.conf"),
        };
        let altered = Some(self.data.join("postgresql.auto.conf")).filter(|path| path.exists());
        Some([configuration].into_iter().chain(altered).collect())
    }

    /// Whether this process runs as the server's user, or as root: then the server can read no more than it can.
    pub(super) fn is_own(&self) -> bool {
        self.reader.is_none()
    }

    /// Whether the file may be another user's secret, which pgsvid does not read.
    pub(super) fn is_secret(&self, path: &Path) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.is_secret(path))
    }

    /// Reads the files for one setting.
    fn read<'a>(&'a self, setting: &'a str) -> Option<Reader<'a>> {
        let roots = self.roots()?;
        let mut reader = Reader {
            setting,
            left: MOST,
            files: Vec::new(),
            found: None,
            found_in: None,
            user: self.reader.as_ref(),
        };
        // The server reads ALTER SYSTEM's file after the others.
        roots.iter().try_for_each(|root| reader.read(root, 0))?;
        Some(reader)
    }
}

/// The file that a setting or argument names; `None` for a relative path. The server resolves it in the directory where it
/// was started (PostgreSQL: `guc.c`, `SelectConfigFiles`, before it changes to its data directory), which is unknown.
fn absolute(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    if path.is_absolute() { without_parents(path).ok() } else { None }
}

/// The [`OTHER_SETTINGS`] that the command line and the configuration files set to a value other than the default, for the
/// next start; `None` if the files cannot be found and read.
#[must_use]
pub fn other_settings(socket: &sql::Settings) -> Option<Vec<(String, Setting)>> {
    let start = Start::of(socket).filter(Start::is_certain)?;
    let mut found = Vec::new();
    for (name, default) in OTHER_SETTINGS {
        let (value, file, source) = if let Some(value) = option(&start.arguments, name) {
            (Some(value.to_owned()), None, "command line")
        } else {
            let reader = start.read(name)?;
            (reader.found, reader.found_in, "configuration file")
        };
        if let Some(value) = value.filter(|value| value != default) {
            let source = Some(source.to_owned());
            let file = file.map(|file| file.display().to_string());
            found.push((name.to_owned(), Setting { value, source, file }));
        }
    }
    Some(found)
}

/// The TLS settings by name as the configuration files have them; `None` if the files cannot be found and read.
#[must_use]
pub fn tls_settings_in_files(socket: &sql::Settings) -> Option<BTreeMap<String, Setting>> {
    let start = Start::of(socket).filter(Start::is_certain)?;
    let names = TLS_SETTINGS.into_iter().chain(OTHER_SETTINGS.map(|(name, _)| name));
    let mut found = BTreeMap::new();
    for name in names {
        let reader = start.read(name)?;
        if let Some(value) = reader.found {
            let source = Some("configuration file".to_owned());
            let file = reader.found_in.map(|file| file.display().to_string());
            found.insert(name.to_owned(), Setting { value, source, file });
        }
    }
    Some(found)
}

/// The file that finally sets a setting; `None` if the command line does, or if unknown.
#[must_use]
pub fn set_in(socket: &sql::Settings, setting: &str) -> Option<PathBuf> {
    let start = Start::of(socket).filter(Start::is_certain)?;
    if start.is_fixed(setting) {
        return None;
    }
    start.read(setting)?.found_in
}

/// Whether the command line or a configuration file sets a setting to a value that is not empty; `None` if they cannot be found and
/// read.
#[must_use]
pub fn is_set(socket: &sql::Settings, setting: &str) -> Option<bool> {
    let start = Start::of(socket).filter(Start::is_certain)?;
    let value = match option(&start.arguments, setting) {
        Some(value) => Some(value.to_owned()),
        None => start.read(setting)?.found,
    };
    Some(value.is_some_and(|value| !value.is_empty()))
}

/// The arguments of the postmaster; `None` if unknown (PostgreSQL: `CreateOptsFile`).
fn arguments(data: &Path) -> Option<Vec<String>> {
    let path = data.join("postmaster.opts");
    if !path.exists() {
        return Some(Vec::new());
    }
    let text = files::text(&path, LARGEST).ok()?;
    // Each argument is in quotation marks. An argument that contains quotation marks looks like two arguments.
    let parts: Vec<&str> = text.trim_end().split('"').collect();
    let between = parts.iter().skip(2).step_by(2).all(|blank| blank.trim().is_empty());
    let whole = parts.len() % 2 == 1 && between;
    whole.then(|| parts.iter().skip(1).step_by(2).map(|part| (*part).to_owned()).collect())
}

/// The value of a setting on the command line: `-c name=value`, `-cname=value` or `--name=value`; the last one wins.
fn option<'a>(arguments: &'a [String], setting: &str) -> Option<&'a str> {
    arguments.iter().rev().find_map(|argument| {
        let bare = argument.strip_prefix("--").or(argument.strip_prefix("-c")).unwrap_or(argument);
        let (name, value) = bare.split_once('=')?;
        names(name, setting).then_some(value)
    })
}

fn names(word: &str, setting: &str) -> bool {
    word.replace('-', "_").eq_ignore_ascii_case(setting)
}

/// The directory in the postmaster's arguments.
fn directory(arguments: &[String]) -> Option<&Path> {
    let mut found = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("-D") {
            Some("") => found = arguments.next().map(String::as_str),
            Some(directory) => found = Some(directory),
            None => {}
        }
    }
    found.map(Path::new)
}

/// Looks for one setting in files.
struct Reader<'a> {
    setting: &'a str,
    /// How many files may still be read.
    left: usize,
    /// The files that were read.
    files: Vec<PathBuf>,
    /// The last value that was found.
    found: Option<String>,
    /// The file that it was found in.
    found_in: Option<PathBuf>,
    /// The server's user, if this process runs as another one: files that this user may not read are not examined.
    user: Option<&'a ServersUser>,
}

impl Reader<'_> {
    /// Reads a file and what it includes; `None` if not all of it can be read.
    fn read(&mut self, path: &Path, depth: usize) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEEPEST {
            return None;
        }
        let is_secret = || self.user.is_some_and(|user| user.is_secret(path));
        if is_secret() {
            return None;
        }
        let text = files::text(path, LARGEST).ok()?;
        if text.contains('\0') || is_secret() {
            return None;
        }
        self.files.push(path.to_owned());
        for (name, value) in text.lines().filter_map(entry) {
            let name = name.to_ascii_lowercase();
            if !name.starts_with("include") && name != self.setting {
                continue;
            }
            let value = value?;
            let included = || named_in(path, &value).ok();
            match name.as_str() {
                "include" => self.read(&included()?, depth + 1)?,
                "include_if_exists" => {
                    let included = included()?;
                    if std::fs::symlink_metadata(&included).is_ok() {
                        self.read(&included, depth + 1)?;
                    } else {
                        // A user who can create the missing file chooses its contents.
                        self.files.push(included);
                    }
                }
                "include_dir" => self.read_directory(&included()?, depth + 1)?,
                name if name == self.setting => {
                    (self.found, self.found_in) = (Some(value), Some(path.to_owned()));
                }
                _ => {}
            }
        }
        Some(())
    }

    fn read_directory(&mut self, path: &Path, depth: usize) -> Option<()> {
        self.files.push(path.to_owned());
        let entries: Vec<_> = std::fs::read_dir(path).ok()?.take(MOST + 1).collect();
        if entries.len() > MOST {
            return None;
        }
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".conf") && !name.starts_with('.') {
                files.push(entry.path());
            }
        }
        files.sort_unstable();
        files.iter().try_for_each(|file| self.read(file, depth))
    }
}

/// Name and value of a line: `name = value`, `name value` or `name 'value'`.
///
/// The value is `None` if it is written in a form that no path needs.
pub(super) fn entry(line: &str) -> Option<(&str, Option<String>)> {
    let line = line.trim();
    let end = line.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '.')));
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    if name.is_empty() {
        return None;
    }
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => unquoted(quoted),
        None => rest.split(|c: char| c.is_whitespace() || c == '#').next().map(str::to_owned),
    };
    Some((name, value))
}

/// The text before the closing quotation mark, where two marks stand for one (PostgreSQL: `DeescapeQuotedString`). `None` if
/// there is no closing mark.
fn unquoted(quoted: &str) -> Option<String> {
    let mut value = String::new();
    let mut rest = quoted.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' if rest.next_if_eq(&'\'').is_none() => return Some(value),
            '\\' => match rest.next()? {
                'b' => value.push('\u{8}'),
                'f' => value.push('\u{c}'),
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                // A character code; no path needs one.
                '0'..='7' => return None,
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn path(data: &Path, environment: Option<&Path>) -> Option<(PathBuf, bool)> {
        let named = Start::new(data.to_owned(), environment)?.configured("hba_file", "pg_hba.conf");
        named.map(|named| (named.path, named.certain))
    }

    #[test]
    fn a52_the_file_that_a_setting_names_is_found_in_every_place_that_can_set_it() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let hba = || path(data, Some(data));
        let conf = data.join("postgresql.conf");
        assert_eq!(hba(), None, "there is no configuration");
        for (text, found) in [
            ("", None),
            ("hba_file = '/a'", Some("/a")),
            ("HBA_File '/it''s'", Some("/it's")),
            (" hba_file=/b # c\nhba_file_x = '/d'", Some("/b")),
            ("hba_file = '/a'\n#hba_file = '/b'", Some("/a")),
            ("hba_file = '/a'\nhba_file = '/b\\\\c' # d", Some("/b\\c")),
            ("hba_file = ''", None),
            ("include_if_exists 'none'", None),
            ("hba_file = '/a'\nInclude = 'more'\n", Some("/e")),
            ("include_dir 'd'", Some("/2")),
        ] {
            write(&data.join("more"), "hba_file = '/e'\n");
            std::fs::create_dir_all(data.join("d")).unwrap();
            write(&data.join("d/1.conf"), "hba_file = '/1'\n");
            write(&data.join("d/2.conf"), "hba_file = '/2'\n");
            write(&data.join("d/3"), "hba_file = '/3'\n");
            write(&conf, text);
            let found = found.map_or_else(|| data.join("pg_hba.conf"), PathBuf::from);
            assert_eq!(hba(), Some((found, true)), "{text}");
        }
        for text in [
            "include 'none'",
            "include_dir 'none'",
            "include 'postgresql.conf'",
            "a\0",
            "hba_file = '/a\\057b'",
        ] {
            write(&conf, text);
            assert_eq!(hba(), None, "{text}");
        }
        write(&conf, "hba_file = '/a'");
        write(&data.join("postgresql.auto.conf"), "hba_file = '/altered'\n");
        assert_eq!(hba(), Some(("/altered".into(), true)));
        for (arguments, found) in [
            ("\"-c\" \"port=1\"", Some("/altered")),
            ("\"-c\" \"hba_file=/x\" \"--HBA-file=/y z\"", Some("/y z")),
            ("\"-chba_file=/x\"", Some("/x")),
            ("\"-c\" \"hba_file=/x\"\"", None),
        ] {
            write(&data.join("postmaster.opts"), &format!("/bin/postgres {arguments}\n"));
            assert_eq!(hba(), found.map(|found| (found.into(), true)), "{arguments}");
        }
    }

    #[test]
    fn b31_what_is_named_from_the_directory_of_the_start_is_not_guessed() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let (conf, opts) = (data.join("postgresql.conf"), data.join("postmaster.opts"));
        write(&conf, "hba_file = 'a'");
        assert_eq!(path(data, Some(data)), None, "a relative path in a file");
        write(&conf, "");
        for argument in ["hba_file=a", "config_file=postgresql.conf"] {
            write(
                &opts,
                &format!("/bin/postgres \"-D\" \"{}\" \"-c\" \"{argument}\"\n", data.display()),
            );
            assert_eq!(path(data, None), None, "{argument}");
        }
        let other = data.join("elsewhere");
        std::fs::create_dir(&other).unwrap();
        write(&other.join("postgresql.conf"), "");
        let last = data.file_name().unwrap().to_str().unwrap();
        let (here, there) = (data.join("pg_hba.conf"), other.join("pg_hba.conf"));
        let in_other = format!("-cconfig_file={}", other.join("postgresql.conf").display());
        for (arguments, environment, found) in [
            (format!("\"-D\" \"{}\"", other.display()), None, Some((&there, true))),
            (format!("\"-D\" \"{}\"", other.display()), Some(data), Some((&there, true))),
            // The same name may be another directory.
            (format!("\"-D\" \"./{last}\""), Some(data), Some((&here, false))),
            ("\"-D\" \"unknown\"".to_owned(), None, None),
            (String::new(), None, Some((&here, false))),
            (String::new(), Some(data), Some((&here, true))),
            (String::new(), Some(other.as_path()), Some((&there, true))),
            (String::new(), Some(Path::new(last)), Some((&here, false))),
            (format!("\"{in_other}\""), None, Some((&here, false))),
        ] {
            write(&opts, &format!("/bin/postgres {arguments}\n"));
            let found = found.map(|(path, certain)| (path.clone(), certain));
            assert_eq!(path(data, environment), found, "{arguments} {environment:?}");
        }
        std::fs::remove_file(&opts).unwrap();
        assert_eq!(path(data, None), Some((here, false)));
        // The file decides, wherever the directory is.
        write(&opts, &format!("/bin/postgres \"{in_other}\"\n"));
        write(&other.join("postgresql.conf"), "hba_file = '/a'");
        assert_eq!(path(data, None), Some(("/a".into(), true)));
    }
}
