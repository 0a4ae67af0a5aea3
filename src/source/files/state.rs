//! The state of the certificate files, without the identity in them.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::Settings;
use crate::finding::Finding;
use crate::timing;

/// Who writes the files, as far as the file system shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The certificate's path.
    pub path: PathBuf,
    /// The number of its owner.
    pub owner: u32,
    /// When it was last written.
    pub written: SystemTime,
    /// Whether it lies in a volume of Kubernetes.
    pub is_volume: bool,
}

/// A phrase that can follow "the program that renews ".
impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = timing::utc(self.written);
        let (path, owner) = (self.path.display(), self.owner);
        write!(f, "{path} (owner uid {owner}, last written {written})")
    }
}

impl Writer {
    /// Where to look for the program that renews the certificate.
    #[must_use]
    pub fn remedy(&self) -> String {
        if self.is_volume {
            return format!(
                "look at what writes the Secret of the volume with {self}: kubectl describe certificate, if that is cert-manager, \
                 or kubectl get certificaterequest, if that is its csi-driver; the kubelet takes a minute or two to update the volume"
            );
        }
        format!(
            "look at the log of the program that renews {self}: cert-manager, Vault Agent, step, or a timer of certbot"
        )
    }
}

/// The state of the files.
#[derive(Debug, Clone)]
pub struct FilesState {
    /// The certificate's path.
    pub certificate: PathBuf,
    /// After which part of a certificate's life, in percent, a renewal is due.
    pub renewal_percent: u32,
    /// Who writes them; `None` until they were read.
    pub writer: Option<Writer>,
    /// Why they are not a set at this moment: they may be being written.
    pub waiting: Option<String>,
    /// Whether the only reason is that they have changed a moment ago.
    pub is_unsettled: bool,
    /// The finding about `waiting`, once this has lasted long enough to be reported.
    pub trouble: Option<Finding>,
}

impl FilesState {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            certificate: settings.paths.certificate.clone(),
            renewal_percent: settings.renewal_percent,
            writer: None,
            waiting: None,
            is_unsettled: false,
            trouble: None,
        }
    }
}

impl FilesState {
    /// Where to look for the program that renews the certificate.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.writer.as_ref().map_or_else(
            || format!("check that the program that writes {} has run", self.certificate.display()),
            Writer::remedy,
        )
    }
}

/// One phrase for people.
impl fmt::Display for FilesState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.waiting, &self.writer) {
            (Some(waiting), _) => f.write_str(waiting),
            (None, Some(writer)) => write!(f, "read from {writer}"),
            (None, None) => f.write_str("not read yet"),
        }
    }
}
