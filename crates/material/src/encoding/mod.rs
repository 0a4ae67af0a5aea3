//! Whether OpenSSL loads a certificate. One that it does not load must not be published: PostgreSQL would refuse to reload,
//! and could not start.
//!
//! Libraries that read facts from a certificate skip what they do not need, names above all. OpenSSL decodes every element
//! (`tasn_dec.c`), so this module checks the encoding of every element, and not its meaning.

mod extensions;
mod names;
mod parts;
mod reader;
mod writer;

pub(super) use parts::{CertificateParts, SubjectPublicKey, key, parts};
pub use reader::DerError;
pub(super) use reader::{Reader, tag};
pub(super) use writer::{element, integer};

use extensions::{extension_list, extensions};
use names::name;
use reader::bit_string;

/// The algorithm and the key of a PKCS#8 structure (RFC 5958, section 2), each as its whole element; `None` for another
/// structure. Attributes and a public key after them are skipped.
pub(super) fn pkcs8(der: &[u8]) -> Option<[&[u8]; 2]> {
    let mut parts = Reader::new(der).enter(tag::SEQUENCE).ok()?;
    parts.integer().ok()?;
    let algorithm = parts.raw_element(tag::SEQUENCE).ok()?;
    let key = parts.raw_element(tag::OCTET_STRING).ok()?;
    Some([algorithm, key])
}

/// The algorithm of a SubjectPublicKeyInfo as its whole element; `None` for another structure.
pub(super) fn algorithm_of_key(der: &[u8]) -> Option<&[u8]> {
    Reader::new(der).enter(tag::SEQUENCE).ok()?.raw_element(tag::SEQUENCE).ok()
}

/// The RDNs of a name, each as its whole element, without those that have no attribute; `None` for another structure.
pub(super) fn rdns(name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = Reader::new(name).enter(tag::SEQUENCE).ok()?;
    let mut rdns = Vec::new();
    while !rest.is_empty() {
        let (mut content, whole) = (rest, rest.raw_element(tag::SET).ok()?);
        if !content.take(tag::SET).ok()?.is_empty() {
            rdns.push(whole);
        }
    }
    Some(rdns)
}

/// OpenSSL does not load the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {flaw}")]
pub struct Unloadable {
    /// The part of the certificate, as RFC 5280 names it.
    pub field: &'static str,
    /// What is wrong there.
    pub flaw: DerError,
}

impl Unloadable {
    pub(super) fn within(field: &'static str) -> impl Fn(DerError) -> Self + Copy {
        move |flaw| Self { field, flaw }
    }
}

/// Checks all of one certificate (RFC 5280, section 4.1).
pub(super) fn check(der: &[u8]) -> Result<(), Unloadable> {
    let within = Unloadable::within;
    let mut outermost = Reader::new(der);
    let mut certificate = outermost.enter(tag::SEQUENCE).map_err(within("certificate"))?;
    outermost.end().map_err(within("certificate"))?;
    let to_be_signed = certificate.enter(tag::SEQUENCE).map_err(within("tbsCertificate"))?;
    to_be_signed_certificate(to_be_signed)?;
    algorithm(&mut certificate).map_err(within("signatureAlgorithm"))?;
    certificate.bit_string().map_err(within("signatureValue"))?;
    certificate.end().map_err(within("certificate"))
}

fn to_be_signed_certificate(mut fields: Reader<'_>) -> Result<(), Unloadable> {
    let within = Unloadable::within;
    version(&mut fields).map_err(within("version"))?;
    fields.integer().map_err(within("serialNumber"))?;
    algorithm(&mut fields).map_err(within("signature"))?;
    name(&mut fields).map_err(within("issuer"))?;
    validity(&mut fields).map_err(within("validity"))?;
    name(&mut fields).map_err(within("subject"))?;
    public_key(&mut fields).map_err(within("subjectPublicKeyInfo"))?;
    for (number, field) in [(1, "issuerUniqueID"), (2, "subjectUniqueID")] {
        let bits = fields.optional(tag::primitive(number)).map_err(within(field))?;
        bits.map_or(Ok((0, [].as_slice())), bit_string).map_err(within(field))?;
    }
    if let Some(list) = extension_list(&mut fields).map_err(within("extensions"))? {
        extensions(list)?;
    }
    fields.end().map_err(within("tbsCertificate"))
}

fn version(fields: &mut Reader<'_>) -> Result<(), DerError> {
    if let Some(mut version) = fields.optional_enter(tag::constructed(0))? {
        version.integer()?;
        version.end()?;
    }
    Ok(())
}

/// `AlgorithmIdentifier ::= SEQUENCE { OBJECT IDENTIFIER, ANY OPTIONAL }`
fn algorithm(fields: &mut Reader<'_>) -> Result<(), DerError> {
    let mut algorithm = fields.enter(tag::SEQUENCE)?;
    algorithm.object_identifier()?;
    if !algorithm.is_empty() {
        algorithm.any()?;
    }
    algorithm.end()
}

fn validity(fields: &mut Reader<'_>) -> Result<(), DerError> {
    let mut validity = fields.enter(tag::SEQUENCE)?;
    time(&mut validity)?;
    time(&mut validity)?;
    validity.end()
}

/// OpenSSL cannot compare times in other forms, and later versions do not load them.
fn time(reader: &mut Reader<'_>) -> Result<(), DerError> {
    let (tag, content) = reader.element()?;
    let digits = match tag {
        tag::UTC_TIME => 12,
        tag::GENERALIZED_TIME => 14,
        _ => return Err(DerError::Unexpected),
    };
    let well_formed = matches!(content.split_last(), Some((b'Z', text))
        if text.len() == digits && text.iter().all(u8::is_ascii_digit));
    if well_formed { Ok(()) } else { Err(DerError::Time) }
}

fn public_key(fields: &mut Reader<'_>) -> Result<(), DerError> {
    let mut information = fields.enter(tag::SEQUENCE)?;
    algorithm(&mut information)?;
    information.bit_string()?;
    information.end()
}
