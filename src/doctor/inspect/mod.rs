//! The contents of certificate files, and whether they belong together.

mod gather;
mod judge;
mod stores;
mod text;

use std::path::PathBuf;
use std::time::SystemTime;

use super::finding::{Report, Section};
use crate::material::pkcs12::{Damage, Password};
use crate::material::reading::{Foreign, Item, Unreadable};
use crate::material::{Certificate, Fingerprint};
pub use crate::publish::password;

/// What to inspect.
#[derive(Debug, Clone)]
pub struct Request {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// Judge by the authorities in this file, instead of those among the paths.
    pub bundle: Option<PathBuf>,
    /// The password of each PKCS#12. Without it, what is encrypted in them is left out.
    pub password: Option<Password>,
}

/// The result.
#[derive(Debug, Clone)]
pub struct Inspection {
    files: Vec<File>,
    findings: Section,
    now: SystemTime,
}

/// One file.
#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    /// Whether its path was given, and not only found in a directory.
    named: bool,
    /// Whether it is only used to judge the others.
    bundle: bool,
    /// Its contents, in order.
    items: Vec<Result<Item, Problem>>,
}

/// Why something cannot be inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// The file cannot be read; the text says why.
    File(String),
    /// One of its contents cannot be read.
    Content(Unreadable),
}

impl Problem {
    fn text(&self) -> String {
        match self {
            Self::File(why) => why.clone(),
            Self::Content(unreadable) => unreadable.to_string(),
        }
    }

    fn fix(&self, file: &str) -> Option<String> {
        match self {
            Self::Content(Unreadable::Foreign(foreign)) => Foreign::remedy(*foreign, file),
            Self::Content(Unreadable::Store(Damage::Password)) => Some(
                "name the file that holds the store's own password: --password-file FILE"
                    .to_owned(),
            ),
            // OpenSSL 3 reads old algorithms only on request.
            Self::Content(Unreadable::Store(Damage::Algorithm | Damage::Malformed)) => {
                Some(format!("openssl pkcs12 -legacy -in {file} -nodes -out all.pem"))
            }
            // With many rounds OpenSSL would hash the password for hours.
            _ => None,
        }
    }
}

impl File {
    fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.items.iter().filter_map(|item| match item {
            Ok(Item::Certificate(certificate)) => Some(&**certificate),
            _ => None,
        })
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(|item| match item {
            Ok(Item::Key { public_key, .. }) => Some(public_key.as_slice()),
            _ => None,
        })
    }
}

/// Reads the files, and judges them at the time `now`. Never fails: an unreadable file is a finding, too.
#[must_use]
pub fn inspect(request: &Request, now: SystemTime) -> Inspection {
    let files = gather::files(request);
    let findings = judge::judge(&files, now);
    Inspection { files, findings, now }
}

impl Inspection {
    /// Whether something is unreadable, does not belong together, or has expired.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.report().has_failures()
    }

    /// The judgement.
    #[must_use]
    pub fn report(&self) -> Report {
        Report { sections: vec![self.findings.clone()] }
    }

    /// The file with the certificate of this key, and that certificate's fingerprint.
    fn owner(&self, public_key: &[u8]) -> Option<(&File, Fingerprint)> {
        self.files.iter().find_map(|file| {
            let found = file.certificates().find(|found| found.public_key() == public_key)?;
            Some((file, found.fingerprint()))
        })
    }
}
