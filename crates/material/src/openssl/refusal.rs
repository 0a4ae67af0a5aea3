//! Why OpenSSL refuses a leaf.

use super::facts::Facts;
use super::fault::Fault;

/// The reason, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bundle has no root that is valid now.
    #[error("no root of the bundle is valid now")]
    NoValidRoot,
    /// The bundle has no certificate with the issuer's name and key identifier.
    #[error("no authority of the bundle has signed it, or an intermediate is missing")]
    NoIssuer,
    /// The sent certificates end in a root that is not trusted.
    #[error("its chain ends in a root that is not in the bundle")]
    UnknownRoot,
    /// A longer chain than OpenSSL follows.
    #[error("its chain has more than a hundred certificates")]
    TooLong,
    /// There are too many certificates that look alike.
    #[error("finding its issuers among so many certificates takes too long")]
    TooMuch,
    /// A fault of one certificate of the path.
    #[error("{which} {fault}")]
    Certificate {
        /// Which one.
        which: Which,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// A certificate of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Which {
    /// The leaf itself.
    #[error("the leaf")]
    Leaf,
    /// An authority above it.
    #[error("the authority with serial number {serial}")]
    Authority {
        /// The beginning of its serial number.
        serial: String,
    },
}

impl Refusal {
    /// Whether the only objection is that pgsvid has no code to check a signature or key.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        matches!(self, Self::Certificate { fault: Fault::Unchecked, .. })
    }

    pub(super) fn of(found: &Facts<'_>, at: usize, fault: Fault) -> Self {
        let serial = || found.certificate.serial().short();
        let which = if at == 0 { Which::Leaf } else { Which::Authority { serial: serial() } };
        Self::Certificate { which, fault }
    }
}
