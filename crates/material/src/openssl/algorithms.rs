//! Keys and signatures: their kinds, and the strength that OpenSSL assigns to them.

use super::curves::is_point_of;
use crate::encoding::{self, Reader, tag};

/// Bits of security that OpenSSL requires at level 2, the default of distributions and of OpenSSL from 3.2 on.
pub(super) const LEAST_SECURITY: usize = 112;

/// A kind of key. A signature of a kind is made by a key of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa,
    RsaPss,
    Ec,
    Ed25519,
    Ed448,
    Dsa,
}

/// How something is signed, according to its object identifier and parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    kind: Kind,
    /// Bits of security: half of the digest's size.
    security: usize,
}

/// A public key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    kind: Option<Kind>,
    security: usize,
    /// A curve with explicit parameters, which OpenSSL refuses in a path.
    pub(super) explicit_curve: bool,
}

impl Method {
    /// Reads an `algorithm` without its header (OpenSSL: `obj_xref.txt`). `None` for an algorithm that OpenSSL does not know, so
    /// that it finds no issuer, and for algorithms that nobody uses.
    pub(super) fn read(algorithm: &[u8]) -> Option<Self> {
        const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4];
        const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
        const DSA: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3];
        let mut parts = Reader::new(algorithm);
        let identifier = parts.object_identifier().ok()?;
        let of = |kind, security| Some(Self { kind, security });
        let number = |start| identifier.strip_prefix(start);
        match (number(ECDSA), number(PKCS1), number(DSA)) {
            (Some([1]), ..) => of(Kind::Ec, 63),
            (Some([3, number @ 1..=4]), ..) => of(Kind::Ec, SHA2[usize::from(number - 1)]),
            (_, Some([5]), _) => of(Kind::Rsa, 63),
            (_, Some([4]), _) => of(Kind::Rsa, 39),
            (_, Some([14]), _) => of(Kind::Rsa, SHA2[0]),
            (_, Some([number @ 11..=13]), _) => of(Kind::Rsa, SHA2[usize::from(number - 10)]),
            (_, Some([10]), _) => of(Kind::RsaPss, pss_security(parts)?),
            (.., Some([number @ 1..=2])) => of(Kind::Dsa, SHA2[usize::from(number - 1)]),
            // EdDSA has no parameters, not even NULL (RFC 8410, section 3).
            _ if !parts.is_empty() => None,
            _ => match identifier {
                ED25519 => of(Kind::Ed25519, 128),
                ED448 => of(Kind::Ed448, 224),
                _ => None,
            },
        }
    }

    pub(super) fn is_weak(self) -> bool {
        self.security < LEAST_SECURITY
    }
}

impl Key {
    /// Reads a SubjectPublicKeyInfo.
    pub(super) fn read(information: &[u8]) -> Self {
        let unknown = Self { kind: None, security: 0, explicit_curve: false };
        let Ok(key) = encoding::key(information) else { return unknown };
        let mut parts = Reader::new(key.algorithm);
        let Ok(identifier) = parts.object_identifier() else { return unknown };
        let of = |kind, security| Self { kind: Some(kind), security, explicit_curve: false };
        match identifier {
            RSA if is_rsa(key.bits) => of(Kind::Rsa, rsa_security(key.bits)),
            RSA_PSS if is_rsa(key.bits) => of(Kind::RsaPss, rsa_security(key.bits)),
            EC => match parts.object_identifier() {
                Ok(curve) => Self::of_curve(curve, key.bits).unwrap_or(unknown),
                Err(_) => Self { explicit_curve: true, ..of(Kind::Ec, 128) },
            },
            ED25519 if parts.is_empty() && key.bits.len() == 32 => of(Kind::Ed25519, 128),
            ED448 if parts.is_empty() && key.bits.len() == 57 => of(Kind::Ed448, 224),
            DSA => of(Kind::Dsa, 0),
            _ => unknown,
        }
    }

    /// A point on a curve that an object identifier names; `None` if it does not look like one.
    fn of_curve(curve: &[u8], point: &[u8]) -> Option<Self> {
        let (security, size) = curve_security(curve);
        let is_point = security == 0 || is_point_of(point, size);
        is_point.then_some(Self { kind: Some(Kind::Ec), security, explicit_curve: false })
    }

    /// Whether OpenSSL cannot load it as a key.
    pub(super) fn has_no_kind(self) -> bool {
        self.kind.is_none()
    }

    /// `check_sig_alg_match`: an RSA key may also make RSA-PSS signatures. An RSA-PSS key may not make RSA signatures.
    pub(super) fn fits(self, method: Method) -> bool {
        self.kind.is_some_and(|kind| {
            kind == method.kind || (kind == Kind::Rsa && method.kind == Kind::RsaPss)
        })
    }

    pub(super) fn is_weak(self) -> bool {
        self.security < LEAST_SECURITY
    }
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];

/// SHA-224, 256, 384 and 512.
const SHA2: [usize; 4] = [112, 128, 192, 256];

/// Security in bits by the order of the curve (`ec_pmeth.c`, and NIST SP 800-57, part 1, table 2), and the size of a
/// coordinate in bytes; 0 for an unknown curve.
fn curve_security(curve: &[u8]) -> (usize, usize) {
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const SECG: &[u8] = &[0x2b, 0x81, 4, 0];
    const BRAINPOOL: &[u8] = &[0x2b, 0x24, 3, 3, 2, 8, 1, 1];
    if curve == P256 {
        return (128, 32);
    }
    match (curve.strip_prefix(SECG), curve.strip_prefix(BRAINPOOL)) {
        // secp224r1, secp256k1, P-384, P-521.
        (Some([33]), _) | (_, Some([5 | 6])) => (112, 28),
        (Some([10]), _) | (_, Some([7 | 8])) => (128, 32),
        (_, Some([9 | 10])) => (128, 40),
        (Some([34]), _) | (_, Some([11 | 12])) => (192, 48),
        (Some([35]), _) => (256, 66),
        (_, Some([13 | 14])) => (256, 64),
        _ => (0, 0),
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`, both not negative.
fn is_rsa(key: &[u8]) -> bool {
    let read = || {
        let mut outer = Reader::new(key);
        let mut numbers = outer.enter(tag::SEQUENCE)?;
        outer.end()?;
        let both = [numbers.integer()?, numbers.integer()?];
        numbers.end()?;
        Ok::<_, encoding::DerError>(both)
    };
    read().is_ok_and(|both| both.iter().all(|number| matches!(number, [0..0x80, ..])))
}

/// Security of an RSA key by its modulus. From 2048 bits on it is as much as OpenSSL requires.
fn rsa_security(key: &[u8]) -> usize {
    let modulus = Reader::new(key).enter(tag::SEQUENCE).and_then(|mut numbers| numbers.integer());
    let Ok(modulus) = modulus else { return 0 };
    let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let unused = digits.first().map_or(0, |digit| digit.leading_zeros());
    let bits = digits.len() * 8 - usize::try_from(unused).unwrap_or(0);
    if bits >= 2048 { LEAST_SECURITY } else { 0 }
}

/// The digest in the parameters of RSA-PSS (RFC 4055, section 3.1). Without one it is SHA-1.
fn pss_security(mut algorithm: Reader<'_>) -> Option<usize> {
    const SHA: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
    let mut parameters = algorithm.enter(tag::SEQUENCE).ok()?;
    let Some(mut hash) = parameters.optional_enter(tag::constructed(0)).ok()? else {
        return Some(63);
    };
    let mut hash = hash.enter(tag::SEQUENCE).ok()?;
    Some(match hash.object_identifier().ok()?.strip_prefix(SHA) {
        Some([4]) => SHA2[0],
        Some([number @ 1..=3]) => SHA2[usize::from(*number)],
        _ => 0,
    })
}
