//! What OpenSSL requires of a certificate that it serves, beyond decoding (`ssl_security_cert`, at level 2, the default of
//! distributions: 112 bits of security).
//!
//! OpenSSL requires nothing of this for a trusted authority, so PostgreSQL starts with any. An intermediate whose key OpenSSL
//! cannot load keeps PostgreSQL from starting, whether a path needs it or not. So the key must be of a kind that is checked
//! here to the last byte.

use rustls_pki_types::alg_id;

use super::curves;
use super::facts::Facts;
use crate::certificate::Certificate;
use crate::encoding::{self, DerError, Unloadable};

/// Checks the key and the signature of one certificate, which [`encoding::check`] has passed.
pub(crate) fn check_served(certificate: &Certificate) -> Result<(), Unloadable> {
    let facts = Facts::of(certificate).map_err(Unloadable::within("certificate"))?;
    // OpenSSL does not check the signature of a root.
    if !facts.self_signed && facts.outer_method().is_none_or(super::algorithms::Method::is_weak) {
        return Err(Unloadable { field: "signatureAlgorithm", flaw: DerError::Signature });
    }
    match loads_key(&facts) {
        Some(true) if !facts.key.is_weak() && !facts.key.explicit_curve => Ok(()),
        _ => Err(Unloadable { field: "subjectPublicKeyInfo", flaw: DerError::Key }),
    }
}

/// Whether OpenSSL loads the public key; `None` for a kind that pgsvid cannot check.
pub(crate) fn loads_key(facts: &Facts<'_>) -> Option<bool> {
    let Ok(key) = encoding::key(facts.certificate.public_key()) else { return Some(false) };
    if facts.key.has_no_kind() {
        return Some(false);
    }
    if let Some(is_point) = curves::is_point(&key) {
        return Some(is_point);
    }
    // OpenSSL checks only their form, which has been checked already.
    let is_simple = [alg_id::RSA_ENCRYPTION.as_ref(), alg_id::ED25519.as_ref()];
    is_simple.contains(&key.algorithm).then_some(true)
}
