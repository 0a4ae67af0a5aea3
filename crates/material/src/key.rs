//! The private key: kept once, zeroed when dropped, never formatted.

use std::fmt;

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use super::encoding;

/// A PKCS#8 private key in DER. `Debug` shows its length only.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

/// PKCS#8, version 1, up to the 32 bytes of a key of Ed25519.
const ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The key is not one of P-256, P-384, RSA (2048 to 4096 bits, which is what ring signs with) or Ed25519 in PKCS#8.
#[derive(Debug, thiserror::Error)]
#[error(
    "the private key is not an unencrypted PKCS#8 key of a supported type (P-256, P-384, RSA of 2048 to 4096 bits, Ed25519)"
)]
pub struct UnusableKey;

impl PrivateKey {
    /// Takes the key's PKCS#8 DER. Whether it is a key is only known after [`Self::public_key`].
    #[must_use]
    pub fn new(der: Zeroizing<Vec<u8>>) -> Self {
        Self(der)
    }

    /// The key's DER. Search for this name to find every place that touches a key.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same key as OpenSSL reads it.
    ///
    /// Ed25519 with its public key beside, as ring and others write it (version 2 of PKCS#8: RFC 8410, section 7), is nothing
    /// that OpenSSL 3.0 reads; it comes out as version 1.
    #[must_use]
    pub(super) fn readable(self) -> Self {
        match encoding::ed25519_seed(&self.0) {
            Some(seed) => Self(Zeroizing::new([&ED25519, seed].concat())),
            None => self,
        }
    }

    /// The SubjectPublicKeyInfo that belongs to this key.
    pub fn public_key(&self) -> Result<SubjectPublicKeyInfoDer<'static>, UnusableKey> {
        public_key(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.expose())))
    }
}

/// The SubjectPublicKeyInfo that belongs to a key of any of the encodings that PEM files hold.
pub(super) fn public_key(
    key: &PrivateKeyDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, UnusableKey> {
    // The provider takes an owned key and zeroes nothing of its own; the copy lives for this call.
    let key = rustls::crypto::ring::sign::any_supported_type(key).map_err(|_| UnusableKey)?;
    Ok(key.public_key().ok_or(UnusableKey)?.into_owned())
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_the_key() {
        let key = PrivateKey::new(Zeroizing::new(vec![0xab; 138]));
        assert_eq!(format!("{key:?}"), "PrivateKey(138 bytes)");
    }

    #[test]
    fn garbage_is_no_key() {
        let key = PrivateKey::new(Zeroizing::new(vec![0x30, 0x03, 0x02, 0x01, 0x00]));
        assert!(key.public_key().is_err());
    }
}
