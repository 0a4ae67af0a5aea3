//! Settings of a server that name files, from its command line and its configuration files (PostgreSQL: `guc-file.l`), for
//! for roles that may not ask for them. Where it cannot be told, it is not guessed.

use std::path::{Component, Path, PathBuf};

use crate::sql::{self, OTHER_SETTINGS, Setting};
use pgsvid_base::files;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// How many files are read.
const MOST: usize = 200;
/// How deep files may include each other (PostgreSQL: `CONF_FILE_MAX_DEPTH`).
const DEEPEST: usize = 10;

/// The path of the file that `setting` names, which is called `default` unless something else is said; `None` if that
/// cannot be told.
pub(super) fn configured(data: &Path, setting: &str, default: &str) -> Option<PathBuf> {
    let arguments = arguments(data)?;
    if let Some(path) = option(&arguments, setting) {
        return Some(data.join(path));
    }
    let (directory, reader) = read(&arguments, data, setting)?;
    Some(match reader.found {
        Some(path) if !path.is_empty() => data.join(path),
        _ => directory.join(default),
    })
}

/// Those of [`OTHER_SETTINGS`] that command line and configuration files set to something else than the default, as the next start
/// will take them; `None` if these cannot be found and read.
#[must_use]
pub fn other_settings(socket: &sql::Settings) -> Option<Vec<(String, Setting)>> {
    let data = super::data_directory(socket)?;
    let arguments = arguments(&data)?;
    let mut found = Vec::new();
    for (name, default) in OTHER_SETTINGS {
        let (value, file, source) = if let Some(value) = option(&arguments, name) {
            (Some(value.to_owned()), None, "command line")
        } else {
            let (_, reader) = read(&arguments, &data, name)?;
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

/// The file that sets a setting in the end, if that is not the command line, and can be told.
#[must_use]
pub fn set_in(socket: &sql::Settings, setting: &str) -> Option<PathBuf> {
    let data = super::data_directory(socket)?;
    let arguments = arguments(&data)?;
    if option(&arguments, setting).is_some() {
        return None;
    }
    read(&arguments, &data, setting)?.1.found_in
}

/// Whether the command line says it, so that no file does.
pub(super) fn is_fixed(data: &Path, setting: &str) -> bool {
    arguments(data).is_some_and(|arguments| option(&arguments, setting).is_some())
}

/// The configuration files and directories, in the order in which they are read; `None` if not all can be found and read.
pub(super) fn files(data: &Path) -> Option<Vec<PathBuf>> {
    let (_, reader) = read(&arguments(data)?, data, "")?;
    Some(reader.files)
}

/// Reads the files for one setting. Also returns the directory where files are that nothing is said of.
fn read<'a>(arguments: &[String], data: &Path, setting: &'a str) -> Option<(PathBuf, Reader<'a>)> {
    let directory = directory(arguments, data)?;
    let configuration = option(arguments, "config_file")
        .map_or_else(|| directory.join("postgresql.conf"), |path| data.join(path));
    let mut reader = Reader { setting, left: MOST, files: Vec::new(), found: None, found_in: None };
    reader.read(&configuration, 0)?;
    // Read after the others, if it is there.
    let altered = data.join("postgresql.auto.conf");
    if altered.exists() {
        reader.read(&altered, 0)?;
    }
    Some((directory, reader))
}

/// What the postmaster was started with; nothing if that is not known (PostgreSQL: `CreateOptsFile`).
fn arguments(data: &Path) -> Option<Vec<String>> {
    let path = data.join("postmaster.opts");
    if !path.exists() {
        return Some(Vec::new());
    }
    let text = files::text(&path, LARGEST).ok()?;
    // Each is in quotation marks; one that holds some itself cannot be told from two.
    let parts: Vec<&str> = text.trim_end().split('"').collect();
    let between = parts.iter().skip(2).step_by(2).all(|blank| blank.trim().is_empty());
    let whole = parts.len() % 2 == 1 && between;
    whole.then(|| parts.iter().skip(1).step_by(2).map(|part| (*part).to_owned()).collect())
}

/// The value of a setting on the command line: `-c name=value`, `-cname=value` or `--name=value`; the last one counts.
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

/// Where the configuration is, if nothing else is said: the directory that the postmaster was started with.
fn directory(arguments: &[String], data: &Path) -> Option<PathBuf> {
    let mut found = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("-D") {
            Some("") => found = arguments.next().map(String::as_str),
            Some(directory) => found = Some(directory),
            None => {}
        }
    }
    let Some(found) = found.map(Path::new) else { return Some(data.to_owned()) };
    if found.is_absolute() {
        return Some(found.to_owned());
    }
    // It was meant from where the postmaster was started.
    let named: PathBuf = found.components().filter(|part| *part != Component::CurDir).collect();
    data.ends_with(named).then(|| data.to_owned())
}

/// Looks for one setting.
struct Reader<'a> {
    setting: &'a str,
    /// How many files may still be read.
    left: usize,
    /// Those that were read.
    files: Vec<PathBuf>,
    /// The last value that was found.
    found: Option<String>,
    /// The file that it was found in.
    found_in: Option<PathBuf>,
}

impl Reader<'_> {
    /// Reads a file and what it includes; `None` if not all of it can be read.
    fn read(&mut self, path: &Path, depth: usize) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEEPEST {
            return None;
        }
        let text = files::text(path, LARGEST).ok()?;
        if text.contains('\0') {
            return None;
        }
        self.files.push(path.to_owned());
        for (name, value) in text.lines().filter_map(entry) {
            let name = name.to_ascii_lowercase();
            if !name.starts_with("include") && name != self.setting {
                continue;
            }
            let value = value?;
            let included = || path.parent().unwrap_or(Path::new("/")).join(&value);
            match name.as_str() {
                "include" => self.read(&included(), depth + 1)?,
                "include_if_exists" => {
                    let included = included();
                    if std::fs::symlink_metadata(&included).is_ok() {
                        self.read(&included, depth + 1)?;
                    } else {
                        // Who can make it one day chooses what is in it.
                        self.files.push(included);
                    }
                }
                "include_dir" => self.read_directory(&included(), depth + 1)?,
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
/// The value is `None` if it is written in a way that no path needs.
fn entry(line: &str) -> Option<(&str, Option<String>)> {
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

/// What stands before the closing quotation mark; two of them stand for one (PostgreSQL: `DeescapeQuotedString`). `None` where
/// there is no end.
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
                // A character by its number; no path needs one.
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

    #[test]
    fn a52_the_file_that_a_setting_names_is_found_wherever_that_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let hba = || configured(data, "hba_file", "pg_hba.conf");
        let named = |name: &str| Some(data.join(name));
        let conf = data.join("postgresql.conf");
        assert_eq!(hba(), None, "there is no configuration");
        for (text, found) in [
            ("", "pg_hba.conf"),
            ("hba_file = 'a'", "a"),
            ("HBA_File 'it''s'", "it's"),
            (" hba_file=b # c\nhba_file_x = 'd'", "b"),
            ("hba_file = 'a'\n#hba_file = 'b'", "a"),
            ("hba_file = 'a'\nhba_file = '/b\\\\c' # d", "/b\\c"),
            ("hba_file = ''", "pg_hba.conf"),
            ("include_if_exists 'none'", "pg_hba.conf"),
            ("hba_file = 'a'\nInclude = 'more'\n", "e"),
            ("include_dir 'd'", "2"),
        ] {
            write(&data.join("more"), "hba_file = 'e'\n");
            std::fs::create_dir_all(data.join("d")).unwrap();
            write(&data.join("d/1.conf"), "hba_file = '1'\n");
            write(&data.join("d/2.conf"), "hba_file = '2'\n");
            write(&data.join("d/3"), "hba_file = '3'\n");
            write(&conf, text);
            assert_eq!(hba(), named(found), "{text}");
        }
        for text in [
            "include 'none'",
            "include_dir 'none'",
            "include 'postgresql.conf'",
            "a\0",
            "hba_file = 'a\\057b'",
        ] {
            write(&conf, text);
            assert_eq!(hba(), None, "{text}");
        }
        write(&conf, "hba_file = 'a'");
        write(&data.join("postgresql.auto.conf"), "hba_file = 'altered'\n");
        assert_eq!(hba(), named("altered"));
        for (arguments, found) in [
            ("\"-c\" \"port=1\"", named("altered")),
            ("\"-c\" \"hba_file=/x\" \"--HBA-file=y z\"", named("y z")),
            ("\"-chba_file=/x\"", Some("/x".into())),
            ("\"-c\" \"hba_file=/x\"\"", None),
        ] {
            write(&data.join("postmaster.opts"), &format!("/bin/postgres {arguments}\n"));
            assert_eq!(hba(), found, "{arguments}");
        }
        let other = data.join("elsewhere");
        std::fs::create_dir(&other).unwrap();
        write(&other.join("postgresql.conf"), "");
        std::fs::remove_file(data.join("postgresql.auto.conf")).unwrap();
        let last = data.file_name().unwrap().to_str().unwrap();
        for (started, found) in [
            (other.to_str().unwrap(), Some(other.join("pg_hba.conf"))),
            (&format!("./{last}"), named("a")),
            ("unknown", None),
        ] {
            write(&data.join("postmaster.opts"), &format!("/bin/postgres \"-D\" \"{started}\"\n"));
            assert_eq!(hba(), found, "{started}");
        }
    }
}
