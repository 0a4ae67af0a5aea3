//! Why OpenSSL refuses a leaf.

use std::time::SystemTime;

use super::facts::Facts;

/// The reason, in words where people meet it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no root to end at that is valid now.
    #[error("no root of the bundle is valid now")]
    NoValidRoot,
    /// Nobody of that name and key identifier.
    #[error("no authority of the bundle has signed it, or an intermediate is missing")]
    NoIssuer,
    /// What was sent ends in a root that is not among the trusted ones.
    #[error("its chain ends in a root that is not in the bundle")]
    UnknownRoot,
    /// More than OpenSSL goes through.
    #[error("its chain has more than a hundred certificates")]
    TooLong,
    /// One certificate of the path.
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
    /// One above it.
    #[error("the authority with serial number {serial}")]
    Authority {
        /// The beginning of its serial number.
        serial: String,
    },
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION`
    #[error("has a critical extension that OpenSSL does not know")]
    Critical,
    /// `X509_V_ERR_INVALID_CA`
    #[error(
        "may not sign certificates: its basicConstraints or its keyUsage say so, or are missing"
    )]
    NoAuthority,
    /// `X509_V_ERR_INVALID_PURPOSE`, for a server.
    #[error(
        "may not be used for servers: its extended key usage or its keyUsage does not allow it"
    )]
    NotForServers,
    /// `X509_V_ERR_INVALID_PURPOSE`, for a client.
    #[error(
        "may not be used for clients: its extended key usage or its keyUsage does not allow it"
    )]
    NotForClients,
    /// `X509_V_ERR_PATH_LENGTH_EXCEEDED`
    #[error("does not allow as many authorities below it (pathLenConstraint)")]
    PathLength,
    /// `X509_V_ERR_EC_KEY_EXPLICIT_PARAMS`
    #[error("has a key on a curve that it spells out, instead of naming it")]
    ExplicitCurve,
    /// `X509_V_ERR_EE_KEY_TOO_SMALL`, `X509_V_ERR_CA_KEY_TOO_SMALL`
    #[error(
        "has a key that is too weak for OpenSSL at security level 2, or of a kind that is not supported (RSA needs 2048 bits, \
         EC 224)"
    )]
    WeakKey,
    /// `X509_V_ERR_CA_MD_TOO_WEAK`
    #[error(
        "is signed with a digest that is too weak for OpenSSL at security level 2, such as SHA-1"
    )]
    WeakDigest,
    /// `X509_V_ERR_CERT_SIGNATURE_FAILURE`
    #[error("is not signed by the key of the authority that OpenSSL takes for its issuer")]
    Signature,
    /// There are too many.
    #[error("is one of too many whose signatures would have to be verified")]
    TooMany,
    /// `X509_V_ERR_CERT_HAS_EXPIRED`
    #[error("has expired")]
    Expired,
    /// `X509_V_ERR_CERT_NOT_YET_VALID`
    #[error("is not valid yet")]
    NotYetValid,
    /// `X509_V_ERR_PERMITTED_VIOLATION` and its like.
    #[error("has a name that the name constraints of an authority above it do not allow")]
    NameConstraints,
    /// OpenSSL has a limit of its own, of a million for each list.
    #[error(
        "has too many names, or the authorities above it have too many name constraints, to compare them"
    )]
    TooManyNames,
    /// A name, or a constraint, of a kind that OpenSSL does not compare.
    #[error(
        "has a name, or an authority above it a name constraint, of a kind that OpenSSL does not compare"
    )]
    UnsupportedName,
    /// RFC 3779.
    #[error(
        "has IP address blocks or autonomous system numbers (RFC 3779), which pgsvid does not compare"
    )]
    Resources,
}

impl Refusal {
    pub(super) fn of(found: &Facts<'_>, at: usize, fault: Fault) -> Self {
        let serial = || found.certificate.serial().short();
        let which = if at == 0 { Which::Leaf } else { Which::Authority { serial: serial() } };
        Self::Certificate { which, fault }
    }
}

impl Fault {
    pub(super) fn of_time(found: &Facts<'_>, now: SystemTime) -> Self {
        if found.not_after() <= now { Self::Expired } else { Self::NotYetValid }
    }
}
