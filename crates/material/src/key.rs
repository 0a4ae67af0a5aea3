//! The private key: one copy, zeroed when dropped, never formatted.

use std::fmt;

use rustls::SignatureScheme;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer,
};
use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::encoding::{self, element, tag};

/// A PKCS#8 private key in DER. `Debug` shows its length only.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

/// `INTEGER 0`
const VERSION_1: [u8; 3] = [0x02, 0x01, 0x00];

/// The key is not one of P-256, P-384, RSA (2048 to 4096 bits, which is what ring signs with) or Ed25519 in PKCS#8.
#[derive(Debug, thiserror::Error)]
#[error(
    "the private key is not an unencrypted PKCS#8 key of a supported type (P-256, P-384, RSA of 2048 to 4096 bits, Ed25519)"
)]
pub struct UnusableKey;

impl PrivateKey {
    /// Takes the key's PKCS#8 DER. Only [`Self::public_key`] finds out whether it is a key.
    #[must_use]
    pub fn new(der: Zeroizing<Vec<u8>>) -> Self {
        Self(der)
    }

    /// The key's DER. Search for this name to find every place that touches a key.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same key in the form that OpenSSL reads: only the algorithm and the key, in version 1 of PKCS#8.
    ///
    /// OpenSSL 3.0 does not read Ed25519 with its public key attached, as ring and others write it (version 2: RFC 8410,
    /// section 7), or malformed attributes.
    #[must_use]
    pub(super) fn readable(self) -> Self {
        let Some([algorithm, key]) = encoding::pkcs8(&self.0) else { return self };
        Self(element(tag::SEQUENCE, &[&VERSION_1, algorithm, key]))
    }

    /// The key of this leaf in PKCS#8, whatever PEM encoding it has: PKCS#1 and SEC1 do not name their algorithm, and
    /// the leaf does. `None` if a key in PKCS#1 or SEC1 belongs to another leaf; a key in PKCS#8 is not compared here.
    pub(super) fn of(
        key: &PrivateKeyDer<'_>,
        leaf: &Certificate,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, UnusableKey> {
        if let PrivateKeyDer::Pkcs8(key) = key {
            return Ok(Some(Zeroizing::new(key.secret_pkcs8_der().to_vec())));
        }
        if public_key(key)?.as_ref() != leaf.public_key() {
            return Ok(None);
        }
        let algorithm = encoding::algorithm_of_key(leaf.public_key()).ok_or(UnusableKey)?;
        let octets = element(tag::OCTET_STRING, &[key.secret_der()]);
        Ok(Some(element(tag::SEQUENCE, &[&VERSION_1, algorithm, &octets])))
    }

    /// Fails unless the leaf's public key verifies what the key signs. The attached public half may be right while the
    /// private half is wrong: then OpenSSL loads the key, and every handshake fails.
    pub(super) fn signs_for(&self, leaf: &Certificate) -> Result<(), UnusableKey> {
        const MESSAGE: &[u8] = b"pgsvid looks whether this key signs";
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.expose()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| UnusableKey)?;
        let algorithms = [
            (SignatureScheme::ECDSA_NISTP256_SHA256, webpki::ring::ECDSA_P256_SHA256),
            (SignatureScheme::ECDSA_NISTP384_SHA384, webpki::ring::ECDSA_P384_SHA384),
            (SignatureScheme::ED25519, webpki::ring::ED25519),
            (SignatureScheme::RSA_PSS_SHA256, webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
        ];
        let signed = algorithms.iter().find_map(|(scheme, algorithm)| {
            let signature = key.choose_scheme(&[*scheme])?.sign(MESSAGE).ok()?;
            Some((algorithm, signature))
        });
        let (algorithm, signature) = signed.ok_or(UnusableKey)?;
        let der = CertificateDer::from(leaf.der());
        let leaf = webpki::EndEntityCert::try_from(&der).map_err(|_| UnusableKey)?;
        leaf.verify_signature(*algorithm, MESSAGE, &signature).map_err(|_| UnusableKey)
    }

    /// The SubjectPublicKeyInfo that belongs to this key.
    pub fn public_key(&self) -> Result<SubjectPublicKeyInfoDer<'static>, UnusableKey> {
        public_key(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.expose())))
    }
}

/// The SubjectPublicKeyInfo of a key in any encoding that PEM files hold.
pub(super) fn public_key(
    key: &PrivateKeyDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, UnusableKey> {
    // The provider takes an owned key and zeroes nothing itself; the copy lives only for this call.
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
    fn a99_bytes_after_the_key_are_left_out_at_any_length() {
        let element = |tag: u8, content: &[u8]| {
            let mut der = vec![tag];
            match content.len() {
                length @ 0..0x80 => der.push(u8::try_from(length).unwrap()),
                length @ 0x80..0x100 => der.extend([0x81, u8::try_from(length).unwrap()]),
                length => {
                    der.push(0x82);
                    der.extend(u16::try_from(length).unwrap().to_be_bytes());
                }
            }
            der.extend(content);
            der
        };
        for size in [32, 100, 200, 300, 5000] {
            let parts = [&VERSION_1[..], &element(0x30, &[6, 1, 42]), &element(4, &vec![7; size])];
            let wanted = element(0x30, &parts.concat());
            let more = element(0xa0, &[0xff; 20]);
            for after in [vec![], more, element(0x81, &[0; 33])] {
                let der = element(0x30, &[&parts.concat()[..], &after].concat());
                let key = PrivateKey::new(Zeroizing::new(der)).readable();
                let Some([algorithm, octets]) = encoding::pkcs8(key.expose()) else {
                    panic!("{size}");
                };
                assert_eq!((algorithm, octets), (parts[1], parts[2]));
                assert_eq!(key.expose(), wanted);
            }
        }
    }

    #[test]
    fn garbage_is_no_key() {
        let key = PrivateKey::new(Zeroizing::new(vec![0x30, 0x03, 0x02, 0x01, 0x00]));
        assert!(key.public_key().is_err());
    }
}
