//! What is inside certificate files, and whether it belongs together.

mod gather;
mod judge;
mod text;

use std::path::PathBuf;
use std::time::SystemTime;

use super::finding::{Report, Section};
use crate::material::reading::{Foreign, Item, Unreadable};
use crate::material::{Certificate, Fingerprint};

/// What to look at.
#[derive(Debug, Clone)]
pub struct Request {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// Judge by the authorities of this file instead of those among the paths.
    pub bundle: Option<PathBuf>,
}

/// What was found.
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
    /// Whether it was named, and not only found in a directory.
    named: bool,
    /// Whether it is only there to judge by.
    bundle: bool,
    /// In order.
    items: Vec<Result<Item, Problem>>,
}

/// Why something cannot be inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// The file cannot be read, in words.
    File(String),
    /// What it holds cannot be.
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

/// Reads the files, and judges by the time `now`. Never fails: what cannot be read is a finding, too.
#[must_use]
pub fn inspect(request: &Request, now: SystemTime) -> Inspection {
    let files = gather::files(request);
    let findings = judge::judge(&files, now);
    Inspection { files, findings, now }
}

impl Inspection {
    /// Whether something cannot be read, does not belong together or has expired.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.report().has_failures()
    }

    /// The judgement.
    #[must_use]
    pub fn report(&self) -> Report {
        Report { sections: vec![self.findings.clone()] }
    }

    /// The file whose certificate has this key, and the certificate's fingerprint.
    fn owner(&self, public_key: &[u8]) -> Option<(&File, Fingerprint)> {
        self.files.iter().find_map(|file| {
            let found = file.certificates().find(|found| found.public_key() == public_key)?;
            Some((file, found.fingerprint()))
        })
    }
}
