//! Points of curves, and ECDSA signatures that ring does not verify: those of P-521, those of P-256 and P-384 with SHA-224 or
//! SHA-512, and those of keys that are compressed points.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

use crate::encoding::{CertificateParts, Reader, SubjectPublicKey};

/// Whether the key made the signature; `None` for an unknown algorithm or curve.
pub(super) fn verify(signed: &CertificateParts<'_>, key: &SubjectPublicKey<'_>) -> Option<bool> {
    let curve = curve(key.algorithm)?;
    if !curve.has_form(key.bits) {
        return Some(false);
    }
    let digest = digest(signed.algorithm, signed.tbs_certificate)?;
    Some(match curve {
        Curve::P256 => verify_p256(key.bits, &digest, signed.signature).is_some(),
        Curve::P384 => verify_p384(key.bits, &digest, signed.signature).is_some(),
        Curve::P521 => verify_p521(key.bits, &digest, signed.signature).is_some(),
    })
}

/// Whether the key's bytes are a point of its curve; `None` for an unknown curve.
pub(super) fn is_point(key: &SubjectPublicKey<'_>) -> Option<bool> {
    let bits = key.bits;
    let curve = curve(key.algorithm)?;
    Some(
        curve.has_form(bits)
            && match curve {
                Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).is_ok(),
                Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).is_ok(),
                Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(bits).is_ok(),
            },
    )
}

/// Whether it is a compressed point, which ring does not read.
pub(super) fn is_compressed(key: &SubjectPublicKey<'_>) -> bool {
    curve(key.algorithm).is_some() && matches!(key.bits, [2 | 3, ..])
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Uncompressed or compressed (SEC 1, section 2.3.3). The libraries used here also read the compact form, which OpenSSL
    /// does not know.
    fn has_form(self, bits: &[u8]) -> bool {
        let size = match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        };
        is_point_of(bits, size)
    }
}

/// Whether it looks like a point whose coordinates have this many bytes.
pub(super) fn is_point_of(bits: &[u8], size: usize) -> bool {
    match bits.split_first() {
        Some((4, coordinates)) => coordinates.len() == 2 * size,
        Some((2 | 3, coordinate)) => coordinate.len() == size,
        _ => false,
    }
}

fn curve(algorithm: &[u8]) -> Option<Curve> {
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let mut parts = Reader::new(algorithm);
    if parts.object_identifier().ok()? != EC {
        return None;
    }
    match parts.object_identifier().ok()? {
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Some(Curve::P256),
        [0x2b, 0x81, 4, 0, 34] => Some(Curve::P384),
        [0x2b, 0x81, 4, 0, 35] => Some(Curve::P521),
        _ => None,
    }
}

fn digest(algorithm: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    const ECDSA_WITH_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
    let mut parts = Reader::new(algorithm);
    let number = parts.object_identifier().ok()?.strip_prefix(ECDSA_WITH_SHA2)?;
    Some(match number {
        [1] => Sha224::digest(content).to_vec(),
        [2] => Sha256::digest(content).to_vec(),
        [3] => Sha384::digest(content).to_vec(),
        [4] => Sha512::digest(content).to_vec(),
        _ => return None,
    })
}

/// One function for each curve: a common trait for their types would need too many bounds.
macro_rules! verify {
    ($name:ident, $curve:ident, $size:literal) => {
        fn $name(key: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
            // Zeros before a digest do not change its number. The library refuses a digest that is shorter than half of the curve.
            let zeros = vec![0; usize::saturating_sub($size, digest.len())];
            let digest = &[&zeros, digest].concat();
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
            let signature = $curve::ecdsa::Signature::from_der(signature).ok()?;
            key.verify_prehash(digest, &signature).ok()
        }
    };
}

verify!(verify_p256, p256, 32);
verify!(verify_p384, p384, 48);
verify!(verify_p521, p521, 66);
