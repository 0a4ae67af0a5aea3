//! What OpenSSL objects to in one certificate of a path.

/// A fault of one certificate. The text follows the name of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has a critical extension that OpenSSL does not know (`X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION`).
    #[error("has a critical extension that OpenSSL does not know")]
    Critical,
    /// It may not sign certificates (`X509_V_ERR_INVALID_CA`).
    #[error(
        "must not sign certificates: its basicConstraints or its keyUsage forbid it, or are missing"
    )]
    NotACa,
    /// It may not be used by a server (`X509_V_ERR_INVALID_PURPOSE`).
    #[error("cannot be used for servers: its extended key usage or its keyUsage does not allow it")]
    NotForServers,
    /// It may not be used by a client (`X509_V_ERR_INVALID_PURPOSE`).
    #[error("cannot be used for clients: its extended key usage or its keyUsage does not allow it")]
    NotForClients,
    /// It may be used by neither (`X509_V_ERR_INVALID_PURPOSE`).
    #[error(
        "can be used neither for servers nor for clients: its extended key usage or its keyUsage does not allow it"
    )]
    NotForServersOrClients,
    /// More authorities are below it than it allows (`X509_V_ERR_PATH_LENGTH_EXCEEDED`).
    #[error("has a pathLenConstraint that is too small for this chain")]
    PathLength,
    /// Its key has no named curve (`X509_V_ERR_EC_KEY_EXPLICIT_PARAMS`).
    #[error("has a key with explicit curve parameters instead of a named curve")]
    ExplicitCurve,
    /// Its key is too weak (`X509_V_ERR_EE_KEY_TOO_SMALL`, `X509_V_ERR_CA_KEY_TOO_SMALL`).
    #[error(
        "has a key that is too weak for OpenSSL at security level 2, or of a kind that is not supported (RSA needs 2048 bits, \
         EC 224)"
    )]
    WeakKey,
    /// Its signature has a weak digest (`X509_V_ERR_CA_MD_TOO_WEAK`).
    #[error(
        "is signed with a digest that is too weak for OpenSSL at security level 2, such as SHA-1"
    )]
    WeakDigest,
    /// Its signature is wrong (`X509_V_ERR_CERT_SIGNATURE_FAILURE`).
    #[error("is not signed by the key of the authority that OpenSSL finds as its issuer")]
    Signature,
    /// Too many signatures would have to be verified.
    #[error("was not verified: the limit on signature checks is used up")]
    TooMany,
    /// A kind of key, curve or signature that pgsvid has no code for. OpenSSL may have, and then accept or refuse the
    /// signature.
    #[error(
        "has a signature, or a key, of a kind that pgsvid cannot verify (known are RSA and ECDSA with SHA-256 to SHA-512, P-256 to P-521, \
         Ed25519)"
    )]
    Unchecked,
    /// It has expired (`X509_V_ERR_CERT_HAS_EXPIRED`).
    #[error("has expired")]
    Expired,
    /// It is not valid yet (`X509_V_ERR_CERT_NOT_YET_VALID`).
    #[error("is not valid yet")]
    NotYetValid,
    /// `X509_V_ERR_PERMITTED_VIOLATION` and related errors.
    #[error("has a name that the name constraints of an authority above it do not allow")]
    NameConstraints,
    /// OpenSSL has its own limit, of a million for each list.
    #[error(
        "has too many or too long names, or the authorities above it have too many name constraints, to compare them"
    )]
    TooManyNames,
    /// A name, or a constraint, of a kind that OpenSSL does not compare.
    #[error(
        "has a name, or an authority above it has a name constraint, of a kind that OpenSSL does not compare"
    )]
    UnsupportedName,
    /// OpenSSL compares these with the authorities above (RFC 3779), but pgsvid does not.
    #[error(
        "has IP address blocks or autonomous system numbers (RFC 3779), which pgsvid does not compare"
    )]
    ResourceExtension,
}
