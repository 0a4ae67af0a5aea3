//! What PgBouncer's ini includes, as far as it can be read from here.

use std::path::{Path, PathBuf};

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
    Yes,
    /// It does not.
    No,
    /// It includes a file that does not exist: PgBouncer refuses the whole ini then.
    Missing(PathBuf),
    /// A file cannot be read from here, or a path is relative.
    Unknown,
}

/// Whether `ini`, or a file that it includes, includes `part`, the published part's path for PgBouncer.
#[must_use]
pub fn included(ini: &Path, part: &Path, viewpoint: &Viewpoint) -> Included {
    let mut left = vec![ini.to_owned()];
    let mut read = 0;
    let mut is_known = true;
    while let Some(file) = left.pop() {
        if lead(&file.display().to_string(), part, viewpoint) == Lead::Published {
            return Included::Yes;
        }
        read += 1;
        if !file.is_absolute() || read > MOST {
            is_known = false;
            continue;
        }
        match files::read(&file, LARGEST) {
            Ok(text) => left.extend(includes(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Included::Missing(file);
            }
            Err(_) => is_known = false,
        }
    }
    if is_known { Included::No } else { Included::Unknown }
}

/// The settings of the published part that a line below its include sets again: the last one counts, and it names one
/// generation for ever.
#[must_use]
pub fn overridden(ini: &Path, part: &Path, viewpoint: &Viewpoint) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![ini.to_owned()];
    // What is left of each file that includes another one is read after that.
    let mut lines: Vec<String> = Vec::new();
    let (mut read, mut is_below) = (0, false);
    loop {
        if let Some(file) = left.pop() {
            is_below |= lead(&file.display().to_string(), part, viewpoint) == Lead::Published;
            read += 1;
            if read <= MOST && lead(&file.display().to_string(), part, viewpoint) != Lead::Published
            {
                let text = files::read(&file, LARGEST).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                lines.extend(text.lines().rev().map(str::to_owned));
            }
        }
        let Some(line) = lines.pop() else { return found };
        left.extend(includes(&line));
        let name = line.split('=').next().unwrap_or_default().trim();
        let is_of_part = ["client_tls_", "server_tls_"].iter().any(|side| {
            name.strip_prefix(side)
                .is_some_and(|rest| ["cert_file", "key_file", "ca_file"].contains(&rest))
        });
        if is_below && is_of_part && !found.iter().any(|it| it == name) {
            found.push(name.to_owned());
        }
    }
}

/// The files that decide which clients PgBouncer lets in and what it does: its ini, what that includes, and the files of users and rules.
/// Relative paths are left out.
#[must_use]
pub fn deciding_files(settings: &Settings) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut left = vec![settings.ini().to_owned()];
    while let Some(file) = left.pop() {
        if file.is_absolute() && !found.contains(&file) && found.len() < MOST {
            let text = files::read(&file, LARGEST).unwrap_or_default();
            left.extend(includes(&String::from_utf8_lossy(&text)));
            found.push(file);
        }
    }
    let named = ["auth_file", "auth_hba_file"].map(|name| PathBuf::from(settings.value(name)));
    found.extend(named.into_iter().filter(|path| path.is_absolute()));
    found
}

/// The paths of the lines `%include PATH` (PgBouncer: `cf_load_file`).
fn includes(text: &str) -> Vec<PathBuf> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("%include"));
    let lines = lines.filter(|rest| rest.starts_with(char::is_whitespace));
    lines.map(|rest| PathBuf::from(rest.trim())).collect()
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
        assert_eq!(of(&include("pub/part.ini")), Included::Yes);
        assert_eq!(of(&include("pub/..data/part.ini")), Included::Yes);
        write(&at("nested.ini"), &include("pub/part.ini"));
        assert_eq!(of(&include("nested.ini")), Included::Yes);

        assert_eq!(of("client_tls_cert_file = /a\n; %include x\n%includes y\n"), Included::No);
        assert_eq!(of(&include("pub/..v1/part.ini")), Included::No, "it names one generation");
        let over = |text: &str| {
            write(&at("pgbouncer.ini"), text);
            overridden(&at("pgbouncer.ini"), &at("pub/part.ini"), &viewpoint)
        };
        let part = include("pub/part.ini");
        let pasted =
            "client_tls_key_file = /a\nserver_tls_ca_file=/b\nclient_tls_sslmode = require\n";
        assert_eq!(over(&format!("{pasted}{part}")), [""; 0]);
        assert_eq!(over(&format!("{part}{pasted}")), ["client_tls_key_file", "server_tls_ca_file"]);
        assert_eq!(over(&format!("{}{pasted}", include("nested.ini"))).len(), 2);
        write(&at("later.ini"), pasted);
        assert_eq!(over(&format!("{part}{}", include("later.ini"))).len(), 2);

        assert_eq!(of(&include("gone.ini")), Included::Missing(at("gone.ini")));
        assert_eq!(of("%include relative.ini\n"), Included::Unknown);
        assert_eq!(of(&include("pgbouncer.ini")), Included::Unknown, "it includes itself");
    }
}
