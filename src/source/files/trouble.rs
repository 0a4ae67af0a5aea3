//! Why three files are not a set, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Writer;
use crate::finding::{Code, Finding};
use crate::material::pem::Part;
use crate::material::reading::Foreign;
use crate::text::{argument, shown};
use crate::timing;

/// Why three files are not a set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are paths of the configuration, and the reason in words"
)]
pub enum Trouble {
    /// A file does not exist.
    Missing { path: PathBuf, part: Part },
    /// A file cannot be read. `uid` is this process's user, if that user may not read it.
    Unreadable { path: PathBuf, cause: String, uid: Option<u32> },
    /// Another program is writing the files.
    Unsettled { path: PathBuf },
    /// The file system does not answer.
    Silent { path: PathBuf, limit: Duration },
    /// Certificate or key in DER.
    Der { path: PathBuf, part: Part },
    /// A known format that PostgreSQL does not read.
    Foreign { path: PathBuf, kind: Foreign },
    /// Something else is wrong with the contents of a file.
    Content { path: PathBuf, what: String },
    /// The key belongs to another leaf.
    Pair { certificate: PathBuf, private_key: PathBuf },
    /// No root of the bundle has signed the leaf, or its intermediates.
    Unsigned { certificate: PathBuf, bundle: PathBuf, why: String },
    /// The leaf has expired.
    Expired { certificate: PathBuf, at: SystemTime },
    /// The leaf is not valid yet.
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
                "{} or another file of its set is being written; pgsvid reads the set once it has not changed for a moment",
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
                "{} has no authority that signed {}: {why}",
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
    /// When the set becomes valid, if nothing else is wrong with it.
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

    /// The finding, with its remedy. `writer` describes the program that has written the certificate, if it is known.
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
                "set certificates.bundle to the file with the root that has signed the certificate; cert-manager writes ca.crt \
                 only if its issuer knows the root",
            ),
            Self::Missing { .. } => finding.fix(
                "check that the program that writes the file has run, and that [certificates] names the path that it writes to",
            ),
            Self::Unreadable { uid: Some(uid), .. } => finding.fix(format!(
                "let uid {uid} read the file and enter its directory (in Kubernetes by securityContext.fsGroup); if a link leads to \
                 another directory than when pgsvid was started, restart pgsvid"
            )),
            Self::Unreadable { .. } => finding.fix("let the path lead to a regular file of PEM"),
            Self::Silent { .. } => finding.fix("check that the server of the file system answers"),
            Self::Der { path, part } => {
                let (path, what) = (argument(path.display().to_string()), match part {
                    Part::Key => "pkey",
                    Part::Chain | Part::Bundle => "x509",
                });
                let finding = finding.fix("let the program that writes it write PEM, the leaf first and then its intermediates; by hand, convert it");
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
                "let the program write a key and the certificate that was issued for it; {}",
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
