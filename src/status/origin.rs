//! Where identities come from. It decides when a renewal is expected, and what is reported if none comes.

use std::time::SystemTime;

use crate::finding::{Code, Finding};
use crate::timing;

/// Where identities come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Origin {
    /// An agent.
    #[default]
    Agent,
    /// Files that somebody else writes.
    Files(Box<Certificates>),
}

/// Certificate, key and bundle in files that somebody else writes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Certificates {
    /// The certificate's path.
    pub path: String,
    /// After which part of the lifetime, in per cent, a renewal is due.
    pub renewal_percent: u32,
    /// The number of the certificate's owner; `None` until it was read.
    pub owner: Option<u32>,
    /// When the certificate was last written.
    pub written: Option<SystemTime>,
    /// The remedy: where to look for the program that renews the certificate.
    pub remedy: String,
    /// Why the files are not a usable set at this moment; another program may be writing them.
    pub waiting: Option<String>,
    /// Why they have not been a usable set for a while.
    pub trouble: Option<Finding>,
    /// How often they were not a usable set for a while; each reason counts.
    pub rejected: u64,
}

impl Origin {
    /// The certificate files, if they are the source.
    #[must_use]
    pub fn files(&self) -> Option<&Certificates> {
        match self {
            Self::Agent => None,
            Self::Files(certificates) => Some(certificates),
        }
    }

    /// After which part of the lifetime, from 0 to 1, the next identity is due: agents renew at half of it.
    #[must_use]
    pub fn renewal_part(&self) -> f64 {
        self.files().map_or(0.5, |files| f64::from(files.renewal_percent) / 100.0)
    }
}

impl Certificates {
    /// Why there is no newer certificate, and what to do about it.
    pub(super) fn why_not_renewed(&self) -> Finding {
        if let Some(trouble) = &self.trouble {
            let text = format!("the certificate files cannot be used: {}", trouble.text);
            let fix = trouble.fix.clone().or_else(|| Some(self.remedy.clone()));
            return Finding { text, fix, ..trouble.clone() };
        }
        let found = |code, text: String| Finding::failure(code, text).fix(self.remedy.clone());
        if let Some(waiting) = &self.waiting {
            return found(Code::CertificatesUnsettled, waiting.clone());
        }
        let written = self.written.map_or_else(String::new, |at| {
            format!(
                " (owner uid {}, last written {})",
                self.owner.unwrap_or_default(),
                timing::utc(at)
            )
        });
        found(Code::PublishedNewest, format!("nobody has renewed {}{written}", self.path))
    }
}
