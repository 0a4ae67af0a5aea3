//! What OpenSSL asks of a certificate that it serves behind the leaf, besides that it can be decoded (`ssl_security_cert`,
//! at level 2, which distributions have set: 112 bits of security).
//!
//! Of an authority that it trusts it asks nothing of this. Certificates that lead from the leaf to a root were validated with
//! their keys and signatures; others may stand among them.

use ring::agreement::{
    Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
};
use ring::rand::SystemRandom;
use rustls_pki_types::alg_id;

use super::curves;
use super::facts::Facts;
use crate::certificate::Certificate;
use crate::encoding::{self, Flaw, Reader, Unloadable, tag};

/// Looks at the key and the signature of one certificate, which [`encoding::check`] has passed.
///
/// Of a key that no path needs the kind has to be known here: whether its bytes are one is found out by nothing else.
pub(crate) fn check_served(certificate: &Certificate, is_needed: bool) -> Result<(), Unloadable> {
    let facts = Facts::of(certificate).map_err(Unloadable::within("certificate"))?;
    // OpenSSL does not look at the signature of a root.
    if !facts.self_signed && facts.outer_method().is_none_or(super::algorithms::Method::is_weak) {
        return Err(Unloadable { field: "signatureAlgorithm", flaw: Flaw::Signature });
    }
    if facts.key.is_weak() || facts.key.explicit_curve {
        return Err(Unloadable { field: "subjectPublicKeyInfo", flaw: Flaw::Key });
    }
    key(certificate.public_key(), is_needed).map_err(Unloadable::within("subjectPublicKeyInfo"))
}

/// Whether the bytes of a key are one.
fn key(information: &[u8], is_needed: bool) -> Result<(), Flaw> {
    let mut parts = Reader::new(information).within(tag::SEQUENCE)?;
    parts.take(tag::SEQUENCE)?;
    let (0, _) = parts.bit_string()? else {
        return Err(Flaw::Key);
    };
    let key = encoding::key(information)?;
    let algorithm = key.algorithm;
    let usable = if algorithm == alg_id::ECDSA_P256.as_ref() {
        is_point(key.bits, &ECDH_P256)
    } else if algorithm == alg_id::ECDSA_P384.as_ref() {
        is_point(key.bits, &ECDH_P384)
    } else if algorithm == alg_id::ED25519.as_ref() {
        key.bits.len() == 32
    } else if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        return rsa(key.bits);
    } else if curves::is_p521(algorithm) {
        curves::is_point_of_p521(key.bits)
    } else {
        is_needed
    };
    if usable { Ok(()) } else { Err(Flaw::Key) }
}

/// Whether the bytes are a point of the curve: an agreement of keys is what finds out.
fn is_point(key: &[u8], curve: &'static Algorithm) -> bool {
    EphemeralPrivateKey::generate(curve, &SystemRandom::new()).is_ok_and(|ours| {
        agree_ephemeral(ours, &UnparsedPublicKey::new(curve, key), |_secret| ()).is_ok()
    })
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`
fn rsa(key: &[u8]) -> Result<(), Flaw> {
    let mut outer = Reader::new(key);
    let mut numbers = outer.within(tag::SEQUENCE)?;
    outer.end()?;
    let (modulus, exponent) = (numbers.integer()?, numbers.integer()?);
    numbers.end()?;
    let negative =
        [modulus, exponent].iter().any(|number| number.first().is_some_and(|byte| *byte >= 0x80));
    if negative { Err(Flaw::Negative) } else { Ok(()) }
}
