//! The passwords of key stores and trust stores, read for each publication.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::{Content, Files};
use crate::files;
use crate::material::pkcs12::{LONGEST_PASSWORD, Password};

/// Passwords by the paths of their files.
#[derive(Default)]
pub(super) struct Passwords(BTreeMap<PathBuf, Password>);

impl Passwords {
    /// Reads the password files of these files. Fails with the first that cannot be used.
    pub(super) fn read(files: &Files) -> Result<Self, Error> {
        let read = |path: &Path| Ok((path.to_owned(), password(path)?));
        files.password_files().into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The password for a file with this content.
    pub(super) fn of(&self, content: &Content) -> Option<&Password> {
        self.0.get(content.password_file()?)
    }
}

/// Reads a password file: one line of printable ASCII.
pub fn password(path: &Path) -> Result<Password, Error> {
    let failed = |why: String| Error::Password { path: path.to_owned(), why };
    // With the line's end.
    let most = u64::try_from(LONGEST_PASSWORD + 2).unwrap_or(u64::MAX);
    let text = files::read(path, most.next_multiple_of(1024))
        .map_err(|error| failed(error.to_string()))?;
    Password::parse(&text).map_err(|why| failed(why.to_string()))
}
