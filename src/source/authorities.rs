//! Extra authorities: PEM files of the operator's whose certificates are appended to the bundle.

use std::path::PathBuf;

use tracing::warn;

use crate::files;
use crate::material::{
    self, Certificate, Fingerprint, MOST_EXTRA_NAMES, Material, in_each_others_way, pem,
};
use crate::text::ascii;
use crate::watching::{self, Changes, Watching};

/// A configured file that gives no certificate.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableAuthorities {
    /// It cannot be read.
    #[error("cannot read the extra authorities {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// It holds something else.
    #[error("cannot use the extra authorities {}: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: pem::Malformed,
    },
    /// With so many PostgreSQL could not make a handshake with anybody.
    #[error(
        "the names of the {count} extra authorities take {size} bytes, more than the {MOST_EXTRA_NAMES} that a TLS \
         handshake has room for; leave out those that issue no client certificates"
    )]
    TooMany {
        /// How many certificates.
        count: usize,
        /// What their distinct names take, in bytes.
        size: usize,
    },
}

/// The files, and what they held when they were last good.
pub struct ExtraAuthorities {
    paths: Vec<PathBuf>,
    certificates: Vec<Certificate>,
    changes: Changes,
    /// What was last said of files that cannot be read.
    said: Option<String>,
    /// Those that were last said to be left out.
    left_out: Vec<Fingerprint>,
}

impl ExtraAuthorities {
    /// Reads the files. At start they must be good.
    pub fn read(paths: Vec<PathBuf>, watching: &Watching) -> Result<Self, UnreadableAuthorities> {
        let changes = watching.directories(paths.iter().map(|path| watching::parent(path)));
        let certificates = read(&paths)?;
        Ok(Self { paths, certificates, changes, said: None, left_out: Vec::new() })
    }

    /// What they held when they were last good.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Those of them that can be published beside an identity: OpenSSL could take the others for certificates of ours, or of
    /// a federated trust domain, or for each other.
    #[must_use]
    pub fn beside(&self, material: &Material) -> Vec<Certificate> {
        let (beside, _) = self.divide(material);
        beside.into_iter().cloned().collect()
    }

    /// Those that can be published, and those that cannot.
    fn divide(&self, material: &Material) -> (Vec<&Certificate>, Vec<&Certificate>) {
        let (obstructing, free): (Vec<&Certificate>, Vec<_>) =
            self.certificates.iter().partition(|found| material.is_obstructed_by(found));
        let losers = in_each_others_way(free.iter().copied());
        let (losers, beside): (Vec<_>, Vec<_>) =
            free.into_iter().partition(|found| losers.contains(&found.fingerprint()));
        (beside, [obstructing, losers].concat())
    }

    /// Says which cannot be published beside this identity, if they are others than were said before.
    pub fn tell_left_out(&mut self, material: &Material) {
        let (_, left_out) = self.divide(material);
        let left_out: Vec<Certificate> = left_out.into_iter().cloned().collect();
        let fingerprints = left_out.iter().map(Certificate::fingerprint).collect();
        let before = std::mem::replace(&mut self.left_out, fingerprints);
        for found in left_out.iter().filter(|found| !before.contains(&found.fingerprint())) {
            warn!(
                event = "extra-authority-left-out",
                subject = ascii(&found.subject_text()),
                serial = found.serial().short(),
                fix = "take it out of files.extra_authorities, or let it be made anew with a name of its own",
                "an extra authority is left out: OpenSSL could take it for another one of its name that is published, and \
                 PostgreSQL would refuse that one's clients"
            );
        }
    }

    /// Waits until something happens where the files are.
    pub async fn changed(&mut self) {
        if self.paths.is_empty() {
            std::future::pending::<()>().await;
        }
        self.changes.changed().await;
    }

    /// Reads the files again, and says whether they differ. Unreadable ones keep their last good content.
    pub fn read_again(&mut self) -> bool {
        match read(&self.paths) {
            Ok(certificates) => {
                self.said = None;
                let differ = certificates != self.certificates;
                self.certificates = certificates;
                differ
            }
            Err(error) => {
                // Whatever happens in their directory brings us here.
                let error = error.to_string();
                if self.said.as_ref() != Some(&error) {
                    warn!(
                        event = "extra-authorities-kept",
                        error, "keeping the extra authorities as they were"
                    );
                    self.said = Some(error);
                }
                false
            }
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Certificate>, UnreadableAuthorities> {
    let mut certificates = Vec::new();
    for path in paths {
        let text = files::contents(path)
            .map_err(|cause| UnreadableAuthorities::File { path: path.clone(), cause })?;
        let found = pem::decode_certificates(&text)
            .map_err(|cause| UnreadableAuthorities::Content { path: path.clone(), cause })?;
        certificates.extend(found);
    }
    let size = material::size_of_names(&certificates);
    if size > MOST_EXTRA_NAMES {
        return Err(UnreadableAuthorities::TooMany { count: certificates.len(), size });
    }
    Ok(certificates)
}
