//! The passwords of key stores and trust stores, read for each publication.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::Content;
use crate::files;
use crate::material::pkcs12::{LONGEST_PASSWORD, Password};

/// Passwords by the paths of their files.
#[derive(Default)]
pub(super) struct Passwords(BTreeMap<PathBuf, Password>);

impl Passwords {
    /// Reads the password files of these contents, each once. Fails with the first that cannot be used.
    pub(super) fn read<'a>(contents: impl Iterator<Item = &'a Content>) -> Result<Self, Error> {
        let files: BTreeSet<&Path> = contents.filter_map(Content::password_file).collect();
        let read = |path: &Path| Ok((path.to_owned(), password(path)?));
        files.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The password in this file, which was read.
    pub(super) fn of(&self, path: &Path) -> Result<&Password, Error> {
        self.0.get(path).ok_or_else(|| Error::Password {
            path: path.to_owned(),
            why: "it was not read".to_owned(),
            out_of_reach: false,
        })
    }
}

/// Reads a password file: one line of printable ASCII.
pub fn password(path: &Path) -> Result<Password, Error> {
    // With the line's end.
    let most = u64::try_from(LONGEST_PASSWORD + 2).unwrap_or(u64::MAX);
    let text = files::read(path, most.next_multiple_of(1024)).map_err(|error| Error::Password {
        path: path.to_owned(),
        why: error.to_string(),
        out_of_reach: error.kind() == std::io::ErrorKind::PermissionDenied,
    })?;
    Password::parse(&text).map_err(|why| Error::Password {
        path: path.to_owned(),
        why: why.to_string(),
        out_of_reach: false,
    })
}
