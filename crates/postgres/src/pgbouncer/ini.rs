//! What PgBouncer's ini includes, as far as it can be read from here.

use std::path::{Path, PathBuf};

use super::databases::{Backend, Databases, ForcedRole};
use super::settings::Settings;
use crate::survey::{Lead, Viewpoint, lead};
use pgsvid_base::files;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// Most files that are read.
const MOST: usize = 20;

/// Whether an ini includes the published part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Included {
    /// It does, by a path that follows each publication.
    Yes(BesidePart),
    /// It does not.
    No,
    /// It includes a file that does not exist: PgBouncer refuses the whole ini then.
    Missing(PathBuf),
    /// A file cannot be read from here, or a path is relative.
    Unknown,
}

/// What else an ini with the published part says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BesidePart {
    /// The settings of the published part that a line below its include sets again: the last one counts, and it names one
    /// generation for ever.
    pub again: Vec<String>,
    /// A file that cannot be judged, if there is one.
    pub unread: Option<Unread>,
}

/// A file that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its path.
    pub path: PathBuf,
    /// The reason, for messages.
    pub why: String,
}

/// The files that decide which clients PgBouncer lets in and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidingFiles {
    /// The ini, what that includes, and the files of users, rules and maps.
    pub found: Vec<PathBuf>,
    /// A file that cannot be found or read from here: it, or what it includes, is not among them.
    pub unread: Option<Unread>,
}

/// Whether `ini`, or a file that it includes, includes `part`, the published part's path for PgBouncer.
#[must_use]
pub fn included(ini: &Path, part: &Path, viewpoint: &Viewpoint) -> Included {
    let is_part =
        |file: &Path| lead(&file.display().to_string(), part, viewpoint) == Lead::Published;
    let walk = Walk::of(ini, is_part);
    match (walk.missing, walk.has_part, walk.unread) {
        (Some(file), ..) => Included::Missing(file),
        (None, true, unread) => Included::Yes(BesidePart { again: walk.again, unread }),
        (None, false, None) => Included::No,
        (None, false, Some(_)) => Included::Unknown,
    }
}

/// The files that decide which clients PgBouncer lets in and what it does.
#[must_use]
pub fn deciding_files(settings: &Settings) -> DecidingFiles {
    let walk = Walk::of(settings.ini(), |_| false);
    let (mut found, mut unread) = (walk.files, walk.unread);
    for name in ["auth_file", "auth_hba_file", "auth_ident_file"] {
        let path = PathBuf::from(settings.value(name));
        if path.is_absolute() {
            found.push(path);
        } else if !path.as_os_str().is_empty() {
            unread.get_or_insert(Unread::relative(path));
        }
    }
    DecidingFiles { found, unread }
}

/// The servers that the ini names, as far as it can be read from here.
#[must_use]
pub fn backends(settings: &Settings) -> Vec<Backend> {
    Walk::of(settings.ini(), |_| false).databases.backends
}

/// The databases of the ini whose clients are all the same role in PostgreSQL, as far as it can be read from here.
#[must_use]
pub fn forced_roles(settings: &Settings) -> Vec<ForcedRole> {
    Walk::of(settings.ini(), |_| false).databases.forced
}

impl Unread {
    fn relative(path: PathBuf) -> Self {
        let why = "the path starts at PgBouncer's own directory, which is not known here";
        Self { path, why: why.to_owned() }
    }
}

/// The lines of an ini and of what it includes, in PgBouncer's order (PgBouncer: `cf_load_file`).
#[derive(Default)]
struct Walk {
    /// The files with an absolute path.
    files: Vec<PathBuf>,
    databases: Databases,
    has_part: bool,
    again: Vec<String>,
    missing: Option<PathBuf>,
    unread: Option<Unread>,
}

impl Walk {
    fn of(ini: &Path, is_part: impl Fn(&Path) -> bool) -> Self {
        let (mut walk, mut read) = (Self::default(), 0);
        // The lines that are left of each file that is open: an included file is read before the next line.
        let mut open: Vec<std::vec::IntoIter<String>> = Vec::new();
        let mut next = Some(ini.to_owned());
        loop {
            if let Some(file) = next.take() {
                read += 1;
                if is_part(&file) {
                    walk.has_part = true;
                } else if read <= MOST {
                    open.extend(walk.lines(file).map(Vec::into_iter));
                } else {
                    let why = format!("more than {MOST} files are included");
                    walk.unread.get_or_insert(Unread { path: file, why });
                    return walk;
                }
            }
            let Some(lines) = open.last_mut() else { return walk };
            match lines.next() {
                Some(line) => {
                    next = include(&line);
                    walk.note(&line);
                    walk.databases.take(&line);
                }
                None => drop(open.pop()),
            }
        }
    }

    fn lines(&mut self, file: PathBuf) -> Option<Vec<String>> {
        if !file.is_absolute() {
            self.unread.get_or_insert(Unread::relative(file));
            return None;
        }
        if !self.files.contains(&file) {
            self.files.push(file.clone());
        }
        match files::text(&file, LARGEST) {
            Ok(text) => return Some(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.missing.get_or_insert(file);
            }
            Err(error) => {
                self.unread.get_or_insert(Unread { path: file, why: error.to_string() });
            }
        }
        None
    }

    /// Notes a setting of the published part that is below it.
    fn note(&mut self, line: &str) {
        let name = line.split('=').next().unwrap_or_default().trim();
        let is_of_part = ["client_tls_", "server_tls_"].iter().any(|side| {
            name.strip_prefix(side)
                .is_some_and(|rest| ["cert_file", "key_file", "ca_file"].contains(&rest))
        });
        if self.has_part && is_of_part && !self.again.iter().any(|it| it == name) {
            self.again.push(name.to_owned());
        }
    }
}

/// The path of a line `%include PATH`.
fn include(line: &str) -> Option<PathBuf> {
    let rest = line.trim().strip_prefix("%include")?;
    rest.starts_with(char::is_whitespace).then(|| PathBuf::from(rest.trim()))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir};
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn q16_a_part_that_is_pasted_is_not_included() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        create_dir(at("pub")).unwrap();
        create_dir(at("pub/..v1")).unwrap();
        write(&at("pub/..v1/part.ini"), "a = b\n");
        symlink("..v1", at("pub/..data")).unwrap();
        symlink("..data/part.ini", at("pub/part.ini")).unwrap();
        let viewpoint =
            Viewpoint { directory: at("pub"), seen_as: at("pub"), data_directory: None };
        let of = |text: &str| {
            write(&at("pgbouncer.ini"), text);
            included(&at("pgbouncer.ini"), &at("pub/part.ini"), &viewpoint)
        };
        let include = |name: &str| format!("[pgbouncer]\n  %include {} \n", at(name).display());
        let alone = Included::Yes(BesidePart::default());
        assert_eq!(of(&include("pub/part.ini")), alone);
        assert_eq!(of(&include("pub/..data/part.ini")), alone);
        write(&at("nested.ini"), &include("pub/part.ini"));
        assert_eq!(of(&include("nested.ini")), alone);

        assert_eq!(of("client_tls_cert_file = /a\n; %include x\n%includes y\n"), Included::No);
        assert_eq!(of(&include("pub/..v1/part.ini")), Included::No, "it names one generation");
        let beside = |text: &str| match of(text) {
            Included::Yes(beside) => beside,
            other => panic!("{text}: {other:?}"),
        };
        let over = |text: &str| {
            let beside = beside(text);
            assert_eq!(beside.unread, None, "{text}");
            beside.again
        };
        let part = include("pub/part.ini");
        let pasted =
            "client_tls_key_file = /a\nserver_tls_ca_file=/b\nclient_tls_sslmode = require\n";
        assert_eq!(over(&format!("{pasted}{part}")), [""; 0]);
        assert_eq!(over(&format!("{part}{pasted}")), ["client_tls_key_file", "server_tls_ca_file"]);
        assert_eq!(over(&format!("{}{pasted}", include("nested.ini"))).len(), 2);
        write(&at("later.ini"), pasted);
        assert_eq!(over(&format!("{part}{}", include("later.ini"))).len(), 2);

        // PgBouncer refuses the whole ini, in whichever order the lines are.
        let gone = include("gone.ini");
        for text in [gone.clone(), format!("{gone}{part}"), format!("{part}{gone}")] {
            assert_eq!(of(&text), Included::Missing(at("gone.ini")), "{text}");
        }
        assert_eq!(of("%include relative.ini\n"), Included::Unknown);
        assert_eq!(of(&include("pgbouncer.ini")), Included::Unknown, "it includes itself");

        // What is not read may set the files again.
        let unread = |text: &str| beside(text).unread.map(|it| it.path);
        let relative = "%include local.ini\n";
        assert_eq!(unread(&format!("{part}{relative}")), Some(PathBuf::from("local.ini")));
        create_dir(at("directory")).unwrap();
        let no_file = include("directory");
        assert_eq!(unread(&format!("{part}{no_file}")), Some(at("directory")));
        write(&at("empty.ini"), "");
        let many = include("empty.ini").repeat(MOST);
        assert_eq!(unread(&format!("{part}{many}{pasted}")), Some(at("empty.ini")));
        assert_eq!(of(&format!("{many}{part}")), Included::Unknown);
    }

    #[test]
    fn b96_a_relative_path_of_a_deciding_file_is_reported() {
        let place = tempfile::tempdir().unwrap();
        let ini = place.path().join("pgbouncer.ini");
        let of = |text: &str, more: &[(&str, &str)]| {
            write(&ini, text);
            let path = ini.display().to_string();
            let usual = [
                ("listen_port", "6432"),
                ("client_tls_sslmode", "require"),
                ("conffile", path.as_str()),
                ("auth_file", "/a/userlist"),
            ];
            let text = |text: &str| Some(text.to_owned());
            let rows: Vec<_> =
                usual.iter().chain(more).map(|(a, b)| vec![text(a), text(b)]).collect();
            let settings = Settings::parse(String::new(), &rows).unwrap();
            let files = deciding_files(&settings);
            assert!(files.found.contains(&ini) || !more.is_empty());
            (files.found.len(), files.unread.map(|it| it.path.display().to_string()))
        };
        assert_eq!(of("", &[]), (2, None));
        assert_eq!(of("", &[("auth_ident_file", "/a/map")]), (3, None));
        for (text, more, unread) in [
            ("%include more.ini\n", &[][..], "more.ini"),
            ("", &[("auth_file", "userlist.txt")], "userlist.txt"),
            ("", &[("auth_hba_file", "hba")], "hba"),
            ("", &[("auth_ident_file", "map")], "map"),
            ("", &[("conffile", "pgbouncer.ini")], "pgbouncer.ini"),
        ] {
            assert_eq!(of(text, more).1.as_deref(), Some(unread), "{text} {more:?}");
        }
    }
}
