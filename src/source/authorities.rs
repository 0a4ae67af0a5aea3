//! Extra authorities: PEM files that the operator names. Their certificates are appended to the bundle.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::files;
use crate::material::{
    self, Certificate, Fingerprint, MOST_EXTRA_NAMES, Material, Obstacle,
    domains_in_each_others_way, pem,
};
use crate::text::ascii;
use crate::watching::{self, Changes, Watching};

/// How often the files are checked without an event: some file systems report no changes, and a directory above the watched
/// ones is not watched.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// A configured file without a usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableAuthorities {
    /// It cannot be read.
    #[error("cannot read the extra authorities {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        cause: std::io::Error,
    },
    /// It does not hold certificates.
    #[error("cannot use the extra authorities {}: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: pem::Malformed,
    },
    /// With so many names PostgreSQL could complete no handshake.
    #[error(
        "the names of the {count} extra authorities take {size} bytes, more than the {MOST_EXTRA_NAMES} that a TLS \
         handshake has room for; leave out those that issue no client certificates"
    )]
    TooMany {
        /// How many certificates.
        count: usize,
        /// Size of their distinct names, in bytes.
        size: usize,
    },
}

impl UnreadableAuthorities {
    /// The remedy for a file that could be read at the start, if it is not obvious.
    fn fix(&self) -> Option<&'static str> {
        let Self::File { cause, .. } = self else { return None };
        (cause.kind() == std::io::ErrorKind::PermissionDenied).then_some(
            "let pgsvid's user read it; if a link leads to another directory than when pgsvid was started, restart pgsvid: \
             its sandbox does not allow that directory",
        )
    }
}

/// How to fix an obstacle to an extra authority.
pub const OBSTACLE_FIX: &str =
    "take it out of files.extra_authorities, or create it again with a name of its own";

/// Why an extra authority is not published.
#[must_use]
pub fn obstacle_cause(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Ours | Obstacle::Federated => {
            "OpenSSL could mistake it for a published one of the same name, and PostgreSQL would refuse that one's clients"
        }
        Obstacle::Unproven => {
            "more authorities have its name than can be told apart in time, so pgsvid does not know whether OpenSSL could mistake it \
             for another one"
        }
    }
}

fn reason(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Ours | Obstacle::Federated => "mistakable",
        Obstacle::Unproven => "unproven",
    }
}

/// The files, and their last good contents.
pub struct ExtraAuthorities {
    paths: Vec<PathBuf>,
    certificates: Vec<Certificate>,
    changes: Changes,
    look_again: Instant,
    /// The latest reported error of reading the files.
    said: Option<String>,
    /// The certificates that were last reported as left out.
    left_out: Vec<Fingerprint>,
}

impl ExtraAuthorities {
    /// Reads the files. Fails if one of them cannot be read or used: at the start there are no last good contents.
    pub fn read(paths: Vec<PathBuf>, watching: &Watching) -> Result<Self, UnreadableAuthorities> {
        // Watched before they are read, so that no change is missed.
        let changes = watching.directories(directories(&paths));
        let certificates = read(&paths)?;
        let look_again = Instant::now() + LOOK_AGAIN;
        Ok(Self { paths, certificates, changes, look_again, said: None, left_out: Vec::new() })
    }

    /// Their last good contents.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificates that can be published with an identity: OpenSSL could mistake the others for certificates of ours, or
    /// of a federated trust domain, or for each other.
    #[must_use]
    pub fn beside(&self, material: &Material) -> Vec<Certificate> {
        let (beside, _) = self.divide(material);
        beside.into_iter().cloned().collect()
    }

    /// The certificates that cannot be published with an identity, each with the reason.
    #[must_use]
    pub fn left_out(&self, material: &Material) -> Vec<(&Certificate, Obstacle)> {
        self.divide(material).1
    }

    /// The certificates that can be published, and those that cannot.
    fn divide(&self, material: &Material) -> (Vec<&Certificate>, Vec<(&Certificate, Obstacle)>) {
        let (mut free, mut left_out) = (Vec::new(), Vec::new());
        for found in &self.certificates {
            match material.obstacle_to(found) {
                Some(obstacle) => left_out.push((found, obstacle)),
                None => free.push(found),
            }
        }
        let losers = domains_in_each_others_way([free.clone()]);
        free.retain(|found| {
            let fingerprint = found.fingerprint();
            let obstacle = if losers.rivals.contains(&fingerprint) {
                Obstacle::Ours
            } else if losers.unproven.contains(&fingerprint) {
                Obstacle::Unproven
            } else {
                return true;
            };
            left_out.push((*found, obstacle));
            false
        });
        (free, left_out)
    }

    /// Reports which certificates cannot be published with this identity, if they differ from the last report.
    pub fn tell_left_out(&mut self, material: &Material) {
        let (_, left_out) = self.divide(material);
        let left_out: Vec<(Certificate, Obstacle)> =
            left_out.into_iter().map(|(found, why)| (found.clone(), why)).collect();
        let fingerprints = left_out.iter().map(|(found, _)| found.fingerprint()).collect();
        let before = std::mem::replace(&mut self.left_out, fingerprints);
        for (found, obstacle) in
            left_out.iter().filter(|(found, _)| !before.contains(&found.fingerprint()))
        {
            warn!(
                event = "extra-authority-left-out",
                subject = ascii(&found.subject_text()),
                serial = found.serial().short(),
                reason = reason(*obstacle),
                fix = OBSTACLE_FIX,
                "an extra authority is left out: {}",
                obstacle_cause(*obstacle)
            );
        }
    }

    /// Waits until something happens in the files' directories, or where a link leads to one; or until the next check by
    /// time.
    pub async fn changed(&mut self) {
        if self.paths.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            () = self.changes.changed() => {}
            () = sleep_until(self.look_again) => {}
        }
    }

    /// Reads the files again, and returns whether they have changed. An unreadable file keeps its last good contents.
    pub fn read_again(&mut self) -> bool {
        self.look_again = Instant::now() + LOOK_AGAIN;
        if !self.paths.is_empty() {
            self.changes.follow(directories(&self.paths));
        }
        match read(&self.paths) {
            Ok(certificates) => {
                self.said = None;
                let differ = certificates != self.certificates;
                self.certificates = certificates;
                differ
            }
            Err(error) => {
                let fix = error.fix();
                // Every event in the directories leads here, so a repeated error is not logged again.
                let error = error.to_string();
                if self.said.as_ref() != Some(&error) {
                    warn!(
                        event = "extra-authorities-kept",
                        error, fix, "keeping the extra authorities as they were"
                    );
                    self.said = Some(error);
                }
                false
            }
        }
    }
}

/// The directories in which a change can affect what is read.
fn directories(paths: &[PathBuf]) -> Vec<PathBuf> {
    let of = |path: &PathBuf| watching::resolve_path(path).directories();
    paths.iter().flat_map(of).collect()
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

#[cfg(test)]
mod tests {
    use dev_agent::Authority;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f46_where_the_kernel_tells_of_nothing_the_files_are_read_now_and_then() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("extra.pem");
        let write = || {
            let authority = Authority::new("corporate.example", false).unwrap();
            std::io::Write::write_all(
                &mut std::fs::File::create(&path).unwrap(),
                authority.root_pem().as_bytes(),
            )
            .unwrap();
        };
        write();
        let mut authorities =
            ExtraAuthorities::read(vec![path.clone()], &Watching::blind()).unwrap();
        for _ in 0..3 {
            write();
            let begun = Instant::now();
            authorities.changed().await;
            assert_eq!(begun.elapsed(), LOOK_AGAIN);
            assert!(authorities.read_again());
            assert!(!authorities.read_again());
        }
        let mut none = ExtraAuthorities::read(Vec::new(), &Watching::blind()).unwrap();
        let waited = tokio::time::timeout(LOOK_AGAIN * 10, none.changed()).await;
        assert!(waited.is_err(), "without any file nothing wakes");
    }
}
