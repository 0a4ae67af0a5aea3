//! Key identifiers that are made from the key, as RFC 5280 (section 4.2.1.2), RFC 7093 and common libraries make them.

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};

use super::facts::Facts;
use super::signatures::{Signature, Signatures};
use crate::encoding;

/// Fewer bytes are soon found for a key of one's own.
const SHORTEST: usize = 16;

impl Facts<'_> {
    /// Whether its maker has the key, and its key identifier is that key's: nobody else can make one that looks the same.
    pub(crate) fn proves_its_key(&self) -> bool {
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
            && Signatures::default().of(self, self) == Signature::Right
    }
}
