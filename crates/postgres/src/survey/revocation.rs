//! Certificates among a server's revocation lists: OpenSSL takes them for authorities, as those of `ssl_ca_file` (PostgreSQL:
//! `be_tls_init`, which calls `X509_STORE_load_locations` for both).

use std::path::{Path, PathBuf};

use super::{Viewpoint, data_directory, place};
use crate::sql::{self, TlsSettings};
use pgsvid_base::files;

/// How many files of a directory are looked at.
const MOST: usize = 1000;
/// Largest file that is looked at, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// What OpenSSL reads as a certificate (`pem.h`).
const CERTIFICATES: [&str; 3] = [
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN X509 CERTIFICATE-----",
    "-----BEGIN TRUSTED CERTIFICATE-----",
];

/// What is where revocation lists should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Each file that holds a certificate, with the setting that leads to it.
    pub authorities: Vec<(&'static str, PathBuf)>,
    /// What cannot be looked at, with the setting.
    pub unseen: Vec<(&'static str, String)>,
    /// What the two settings name, and the files within.
    pub paths: Vec<PathBuf>,
}

/// Looks at the files that `ssl_crl_file` and `ssl_crl_dir` lead to.
#[must_use]
pub fn revocation(
    settings: &TlsSettings,
    socket: &sql::Settings,
    viewpoint: &Viewpoint,
) -> Revocation {
    let data = data_directory(socket).or_else(|| viewpoint.data_directory.clone());
    let mut found = Revocation::default();
    for (setting, value) in [
        ("ssl_crl_file", &settings.revocation_file),
        ("ssl_crl_dir", &settings.revocation_directory),
    ] {
        if value.is_empty() {
            continue;
        }
        let looked = place(value, data.as_deref(), viewpoint).and_then(|path| {
            found.paths.push(path.clone());
            let files = if setting == "ssl_crl_file" { vec![path] } else { hashed(&path)? };
            for file in &files {
                if holds_certificate(file)? {
                    found.authorities.push((setting, file.clone()));
                }
            }
            found.paths.extend(files);
            Some(())
        });
        if looked.is_none() {
            found.unseen.push((setting, value.clone()));
        }
    }
    found
}

/// `None` if it cannot be read.
fn holds_certificate(path: &Path) -> Option<bool> {
    let text = files::read(path, LARGEST).ok()?;
    let holds = |begin: &&str| text.windows(begin.len()).any(|window| window == begin.as_bytes());
    Some(CERTIFICATES.iter().any(holds))
}

/// The files of a directory that OpenSSL reads certificates from: eight hexadecimal digits, a dot, and a number (`by_dir.c`). It
/// reads only lists from the others. `None` if they cannot be listed, or are too many.
fn hashed(directory: &Path) -> Option<Vec<PathBuf>> {
    let entries: Vec<_> = std::fs::read_dir(directory).ok()?.take(MOST + 1).collect();
    if entries.len() > MOST {
        return None;
    }
    let mut found = Vec::new();
    for entry in entries {
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
    Some(found)
}
