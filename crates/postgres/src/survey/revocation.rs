//! Certificates among a server's revocation lists: OpenSSL trusts them as authorities, like those of `ssl_ca_file`
//! (PostgreSQL: `be_tls_init`, which calls `X509_STORE_load_locations` for both).

use std::path::{Path, PathBuf};

use super::{Viewpoint, data_directory, place};
use crate::sql::{self, TlsSettings};
use pgsvid_base::files;

/// How many files of a directory are read.
const MOST: usize = 1000;
/// Largest file that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// How many bytes of all files together are read.
const MOST_BYTES: u64 = 2 * LARGEST;
/// The labels that OpenSSL reads as a certificate (`pem.h`).
const CERTIFICATES: [&str; 3] = [
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN X509 CERTIFICATE-----",
    "-----BEGIN TRUSTED CERTIFICATE-----",
];

/// What was found in the files and directories for revocation lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Each file that holds a certificate, with the setting that leads to it.
    pub authorities: Vec<(&'static str, PathBuf)>,
    /// What could not be examined, with the setting.
    pub unseen: Vec<(&'static str, String)>,
    /// The paths in the two settings, and the files within a directory.
    pub paths: Vec<PathBuf>,
}

/// Examines the files that `ssl_crl_file` and `ssl_crl_dir` name.
#[must_use]
pub fn revocation(
    settings: &TlsSettings,
    socket: &sql::Settings,
    viewpoint: &Viewpoint,
) -> Revocation {
    let data = data_directory(socket).or_else(|| viewpoint.data_directory.clone());
    let mut found = Revocation::default();
    let mut budget = MOST_BYTES;
    // OpenSSL reads the value of ssl_crl_dir as a list of directories with colons between them (`by_dir.c`, `add_cert_dir`).
    let directories = settings.revocation_directory.split(':').map(|value| ("ssl_crl_dir", value));
    let file = [("ssl_crl_file", settings.revocation_file.as_str())];
    for (setting, value) in
        file.into_iter().chain(directories).filter(|(_, value)| !value.is_empty())
    {
        let mut unseen = |what: String| found.unseen.push((setting, what));
        let Some(path) = place(value, data.as_deref(), viewpoint) else {
            unseen(value.to_owned());
            continue;
        };
        found.paths.push(path.clone());
        let listed =
            if setting == "ssl_crl_file" { Some((vec![path], false)) } else { hashed(&path) };
        let (files, more) = listed.unwrap_or((Vec::new(), true));
        if more {
            unseen(value.to_owned());
        }
        for file in &files {
            match holds_certificate(file, &mut budget) {
                Some(true) => found.authorities.push((setting, file.clone())),
                Some(false) => {}
                // The other files are still examined.
                None => unseen(file.display().to_string()),
            }
        }
        found.paths.extend(files);
    }
    found
}

/// Examines the lists that a client reads. Returns the files that hold a certificate, and the files that exist but cannot be
/// examined. `directories` is a list with colons between the names.
#[must_use]
pub fn among_lists(file: Option<&Path>, directories: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut authorities, mut unseen) = (Vec::new(), Vec::new());
    let mut budget = MOST_BYTES;
    let exists = |path: &Path| {
        std::fs::metadata(path)
            .err()
            .is_none_or(|error| error.kind() != std::io::ErrorKind::NotFound)
    };
    let mut files: Vec<PathBuf> = file.into_iter().map(Path::to_owned).collect();
    for directory in directories.split(':').filter(|name| !name.is_empty()).map(PathBuf::from) {
        let listed = hashed(&directory);
        if listed.as_ref().is_none_or(|(_, more)| *more) && exists(&directory) {
            unseen.push(directory);
        }
        files.extend(listed.into_iter().flat_map(|(files, _)| files));
    }
    for file in files.into_iter().filter(|file| exists(file)) {
        match holds_certificate(&file, &mut budget) {
            Some(true) => authorities.push(file),
            Some(false) => {}
            None => unseen.push(file),
        }
    }
    (authorities, unseen)
}

/// Whether a file holds a certificate. `None` if it cannot be read, or `budget`, the number of bytes left to read, is too small.
fn holds_certificate(path: &Path, budget: &mut u64) -> Option<bool> {
    let text = files::read(path, LARGEST.min(*budget)).ok()?;
    *budget = budget.saturating_sub(text.len() as u64);
    let holds = |begin: &&str| text.windows(begin.len()).any(|window| window == begin.as_bytes());
    Some(CERTIFICATES.iter().any(holds))
}

/// The files of a directory from which OpenSSL reads certificates: eight hexadecimal digits, a dot, and a number (`by_dir.c`).
/// From files with other names it only reads revocation lists. Also returns whether the directory has more files than were
/// examined. `None` if the directory cannot be listed.
fn hashed(directory: &Path) -> Option<(Vec<PathBuf>, bool)> {
    let mut found = Vec::new();
    let mut entries = std::fs::read_dir(directory).ok()?;
    for entry in entries.by_ref().take(MOST) {
        let name = entry.ok()?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        if parts.is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.chars().all(|c| c.is_ascii_hexdigit())
                && number.chars().all(|c| c.is_ascii_digit())
        }) {
            found.push(directory.join(name));
        }
    }
    found.sort_unstable();
    Some((found, entries.next().is_some()))
}
