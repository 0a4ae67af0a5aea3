//! Why three files are no set, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Writer;
use crate::finding::{Code, Finding};
use crate::material::pem::Part;
use crate::material::reading::Foreign;
use crate::text::{argument, shown};
use crate::timing;

/// Why three files are no set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are paths of the configuration, and what is said of them")]
pub enum Trouble {
    /// A file is not there.
    Missing { path: PathBuf, part: Part },
    /// It is there, and cannot be read. `uid` is this process's user where that one may not.
    Unreadable { path: PathBuf, cause: String, uid: Option<u32> },
    /// Somebody goes on writing.
    Unsettled { path: PathBuf },
    /// The file system does not answer.
    Silent { path: PathBuf, limit: Duration },
    /// Certificate or key in DER.
    Der { path: PathBuf, part: Part },
    /// A known format that PostgreSQL does not read.
    Foreign { path: PathBuf, kind: Foreign },
    /// Something else is wrong with what a file holds.
    Content { path: PathBuf, what: String },
    /// The key is another leaf's.
    Pair { certificate: PathBuf, private_key: PathBuf },
    /// The bundle does not vouch for the leaf.
    Unsigned { certificate: PathBuf, bundle: PathBuf, why: String },
    /// The leaf has expired.
    Expired { certificate: PathBuf, at: SystemTime },
    /// Its time has not come.
    NotYetValid { from: SystemTime },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path, .. } => write!(f, "{} does not exist", path.display()),
            Self::Unreadable { path, cause, .. } => {
                write!(f, "cannot read {}: {cause}", path.display())
            }
            Self::Unsettled { path } => write!(
                f,
                "{} or a file of its set is being written; it is taken once nobody has touched it for a moment",
                path.display()
            ),
            Self::Silent { path, limit } => write!(
                f,
                "{} cannot be read: its file system has not answered for {}",
                path.display(),
                humantime::format_duration(*limit)
            ),
            Self::Der { path, .. } => {
                write!(f, "{} is DER, and PostgreSQL reads PEM", path.display())
            }
            Self::Foreign { path, kind } => write!(f, "{}: {kind}", path.display()),
            Self::Content { path, what } => write!(f, "{}: {}", path.display(), shown(what)),
            Self::Pair { certificate, private_key } => write!(
                f,
                "the key {} does not belong to the certificate {}",
                private_key.display(),
                certificate.display()
            ),
            Self::Unsigned { certificate, bundle, why } => write!(
                f,
                "{} does not vouch for {}: {why}",
                bundle.display(),
                certificate.display()
            ),
            Self::Expired { certificate, at } => write!(
                f,
                "the certificate {} expired at {}",
                certificate.display(),
                timing::utc(*at)
            ),
            Self::NotYetValid { from } => {
                write!(f, "the certificate is valid only from {}", timing::utc(*from))
            }
        }
    }
}

impl Trouble {
    /// When the set becomes valid, if that is all that is wrong with it.
    pub(super) fn valid_from(&self) -> Option<SystemTime> {
        match self {
            Self::NotYetValid { from } => Some(*from),
            _ => None,
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::CertificatesMissing,
            Self::Unreadable { .. } => Code::CertificatesUnreadable,
            Self::Unsettled { .. } => Code::CertificatesUnsettled,
            Self::Silent { .. } => Code::CertificatesSilent,
            Self::Der { .. } | Self::Foreign { .. } | Self::Content { .. } => {
                Code::CertificatesFormat
            }
            Self::Pair { .. } => Code::CertificatesPair,
            Self::Unsigned { .. } => Code::CertificatesUnsigned,
            Self::Expired { .. } => Code::CertificatesExpired,
            Self::NotYetValid { .. } => Code::CertificatesEarly,
        }
    }

    /// As a finding, with what fixes it. `writer` is who has written the certificate, if that is known.
    #[must_use]
    pub fn finding(&self, writer: Option<&Writer>) -> Finding {
        let finding = Finding::failure(self.code(), self.to_string());
        let renewer = || {
            writer.map_or_else(
                || "look at the log of the program that writes these files".to_owned(),
                Writer::remedy,
            )
        };
        match self {
            Self::Missing { part: Part::Bundle, .. } => finding.fix(
                "let certificates.bundle name the file with the root that has signed the certificate; cert-manager writes ca.crt \
                 only where its issuer knows the root",
            ),
            Self::Missing { .. } => finding.fix(
                "see that the program that writes the file has run, and that [certificates] names the path that it writes to",
            ),
            Self::Unreadable { uid: Some(uid), .. } => finding.fix(format!(
                "let uid {uid} read the file and enter its directory (in Kubernetes by securityContext.fsGroup); if a link leads to \
                 another directory than when pgsvid was started, restart pgsvid"
            )),
            Self::Unreadable { .. } => finding.fix("let the path lead to a regular file of PEM"),
            Self::Silent { .. } => finding.fix("see that the server of the file system answers"),
            Self::Der { path, part } => {
                let (path, what) = (argument(path.display().to_string()), match part {
                    Part::Key => "pkey",
                    Part::Chain | Part::Bundle => "x509",
                });
                let finding = finding.fix("let the program that writes it write PEM, the leaf with its intermediates behind it; by hand, convert it");
                finding.command(format!("openssl {what} -inform DER -in {path} -out converted.pem"))
            }
            Self::Foreign { path, kind } => {
                let finding = finding.fix("let the program that writes it write PEM without a passphrase");
                finding.command_if_any(kind.remedy(&argument(path.display().to_string())))
            }
            Self::Content { .. } | Self::Expired { .. } => finding.fix(renewer()),
            Self::Unsettled { .. } => finding.fix(format!(
                "let the program that writes them write temporary files, and rename these to the configured names when they are complete; {}",
                renewer()
            )),
            Self::Pair { .. } => finding.fix(format!(
                "let it write key and certificate of one issue; {}",
                renewer()
            )),
            Self::Unsigned { .. } => finding.fix(
                "let certificates.bundle hold the self-signed root that has signed the certificate, and certificates.certificate the \
                 intermediates between them, behind the leaf",
            ),
            Self::NotYetValid { .. } => {
                finding.fix("compare the clocks of this machine and of the authority (timedatectl)")
            }
        }
    }
}
