//! What OpenSSL asks of a certificate that it serves behind the leaf, besides that it can be decoded (`ssl_security_cert`,
//! at level 2, which distributions have set: 112 bits of security).
//!
//! Of an authority that it trusts it asks nothing of this. Certificates that lead from the leaf to a root were validated with
//! their keys and signatures; others may stand among them.

use ring::agreement::{
    Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
};
use ring::rand::SystemRandom;
use rustls_pki_types::{AlgorithmIdentifier, alg_id};
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::Unloadable;
use super::reader::{Flaw, Reader, tag};
use crate::Certificate;

/// RSA with fewer bits has less than 112 bits of security (NIST SP 800-57, part 1, table 2).
const LEAST_RSA_BITS: usize = 2048;

/// Those that a path is validated with, and a few more.
const SIGNATURES: [AlgorithmIdentifier; 11] = [
    alg_id::ECDSA_SHA256,
    alg_id::ECDSA_SHA384,
    alg_id::ECDSA_SHA512,
    alg_id::RSA_PKCS1_SHA256,
    alg_id::RSA_PKCS1_SHA384,
    alg_id::RSA_PKCS1_SHA512,
    alg_id::RSA_PSS_SHA256,
    alg_id::RSA_PSS_SHA384,
    alg_id::RSA_PSS_SHA512,
    alg_id::ED25519,
    alg_id::ED448,
];

/// Parameters that say that there are none. Some leave them out.
const NULL: &[u8] = &[tag::NULL, 0];

/// Looks at the key and the signature of one certificate, which [`super::check`] has passed.
pub(crate) fn check_served(certificate: &Certificate) -> Result<(), Unloadable> {
    if !is_root(certificate) {
        signature(certificate.der()).map_err(Unloadable::within("signatureAlgorithm"))?;
    }
    key(certificate.public_key()).map_err(Unloadable::within("subjectPublicKeyInfo"))
}

/// Whether it names itself as its issuer: OpenSSL does not look at the signature of such a certificate. One that also names
/// its issuer's serial number is not taken for one here.
fn is_root(certificate: &Certificate) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else {
        return false;
    };
    let mut own = None;
    let mut named = None;
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => own = Some(identifier),
            ParsedExtension::AuthorityKeyIdentifier(issuer) => named = Some(issuer),
            ParsedExtension::ParseError { .. } => return false,
            _ => {}
        }
    }
    certificate.is_self_signed()
        && named.is_none_or(|named| {
            named.authority_cert_issuer.is_none()
                && named.authority_cert_serial.is_none()
                && named.key_identifier.as_ref().is_none_or(|named| Some(named) == own)
        })
}

fn signature(certificate: &[u8]) -> Result<(), Flaw> {
    let mut parts = Reader::new(certificate).within(tag::SEQUENCE)?;
    parts.take(tag::SEQUENCE)?;
    let algorithm = parts.take(tag::SEQUENCE)?;
    let known = |known: &AlgorithmIdentifier| {
        known.as_ref() == algorithm || known.as_ref().strip_suffix(NULL) == Some(algorithm)
    };
    if SIGNATURES.iter().any(known) { Ok(()) } else { Err(Flaw::Signature) }
}

fn key(information: &[u8]) -> Result<(), Flaw> {
    let mut parts = Reader::new(information).within(tag::SEQUENCE)?;
    let algorithm = parts.take(tag::SEQUENCE)?;
    let (0, key) = parts.bit_string()? else {
        return Err(Flaw::Key);
    };
    let is = |known: AlgorithmIdentifier| known.as_ref() == algorithm;
    let usable = if is(alg_id::ECDSA_P256) {
        is_point(key, &ECDH_P256)
    } else if is(alg_id::ECDSA_P384) {
        is_point(key, &ECDH_P384)
    } else if is(alg_id::ED25519) {
        key.len() == 32
    } else {
        is(alg_id::RSA_ENCRYPTION) && rsa_bits(key)? >= LEAST_RSA_BITS
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
fn rsa_bits(key: &[u8]) -> Result<usize, Flaw> {
    let mut outer = Reader::new(key);
    let mut numbers = outer.within(tag::SEQUENCE)?;
    outer.end()?;
    let (modulus, exponent) = (numbers.integer()?, numbers.integer()?);
    numbers.end()?;
    if [modulus, exponent].iter().any(|number| number.first().is_some_and(|byte| *byte >= 0x80)) {
        return Err(Flaw::Negative);
    }
    // At most one zero stands before the first bit.
    let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let unused = digits.first().map_or(0, |digit| digit.leading_zeros());
    Ok(digits.len() * 8 - usize::try_from(unused).unwrap_or(0))
}
