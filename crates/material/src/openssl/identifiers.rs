//! Key identifiers that are computed from the key, as RFC 5280 (section 4.2.1.2), RFC 7093 and common libraries compute them.

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};

use super::facts::Facts;
use super::signatures::{Signature, Signatures};
use crate::encoding;

/// With fewer bytes an attacker soon finds a key of their own that matches.
const SHORTEST: usize = 16;

impl Facts<'_> {
    /// Whether the certificate is signed by its own key, and its key identifier is computed from that key: then nobody else
    /// can make one that looks the same. False if `signatures` has no effort left.
    pub(crate) fn proves_its_key(&self, signatures: &Signatures) -> bool {
        let information = self.certificate.public_key();
        let Ok(key) = encoding::key(information) else { return false };
        let is_of_key = |identifier: &[u8]| {
            let digests: [&'static Algorithm; 4] =
                [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256, &SHA384, &SHA512];
            let made = digests.iter().flat_map(|algorithm| {
                [key.bits, information].map(|bytes| digest(algorithm, bytes))
            });
            identifier.len() >= SHORTEST
                && made.into_iter().any(|made| made.as_ref().starts_with(identifier))
        };
        self.self_signed
            && self.identifier.is_some_and(is_of_key)
            && signatures.of(self, self) == Signature::Right
    }
}
