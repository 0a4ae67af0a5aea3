//! The parts of a certificate, as slices of its bytes.

use super::extensions::{Extension, extension, extension_list};
use super::reader::{DerError, Reader, tag};

/// A certificate, taken apart (RFC 5280, section 4.1). `issuer` includes its DER header; algorithms do not.
pub(crate) struct CertificateParts<'a> {
    /// The `tbsCertificate`: the signed part.
    pub(crate) tbs_certificate: &'a [u8],
    /// Whether it is of version 1.
    pub(crate) is_version_1: bool,
    /// The serial number's bytes.
    pub(crate) serial: &'a [u8],
    /// The algorithm named within the signed part.
    pub(crate) inner_algorithm: &'a [u8],
    /// The name of the certificate's issuer.
    pub(crate) issuer: &'a [u8],
    /// All extensions, in order.
    pub(crate) extensions: Vec<Extension<'a>>,
    /// The `signatureAlgorithm`.
    pub(crate) algorithm: &'a [u8],
    /// The signature.
    pub(crate) signature: &'a [u8],
    /// How many bits of the signature's last byte are unused.
    pub(crate) unused_bits: u8,
}

/// A public key.
pub(crate) struct SubjectPublicKey<'a> {
    /// The `algorithm`, without its tag and length.
    pub(crate) algorithm: &'a [u8],
    /// The `subjectPublicKey`.
    pub(crate) bits: &'a [u8],
}

/// Reads a certificate, which [`super::check`] has passed.
pub(crate) fn parts(certificate: &[u8]) -> Result<CertificateParts<'_>, DerError> {
    let mut outer = Reader::new(certificate).enter(tag::SEQUENCE)?;
    let tbs_certificate = outer.raw_element(tag::SEQUENCE)?;
    let algorithm = outer.take(tag::SEQUENCE)?;
    let (unused_bits, signature) = outer.bit_string()?;
    let mut fields = Reader::new(tbs_certificate).enter(tag::SEQUENCE)?;
    let version = fields.optional_enter(tag::constructed(0))?;
    let is_version_1 = match version {
        Some(mut version) => version.integer()? == [0],
        None => true,
    };
    let serial = fields.integer()?;
    let inner_algorithm = fields.take(tag::SEQUENCE)?;
    let issuer = fields.raw_element(tag::SEQUENCE)?;
    // Validity, subject, key.
    for _ in 0..3 {
        fields.take(tag::SEQUENCE)?;
    }
    for number in [1, 2] {
        fields.optional(tag::primitive(number))?;
    }
    let mut extensions = Vec::new();
    if let Some(mut list) = extension_list(&mut fields)? {
        while !list.is_empty() {
            extensions.push(extension(&mut list)?);
        }
    }
    Ok(CertificateParts {
        tbs_certificate,
        is_version_1,
        serial,
        inner_algorithm,
        issuer,
        extensions,
        algorithm,
        signature,
        unused_bits,
    })
}

/// Reads a SubjectPublicKeyInfo. No key has unused bits.
pub(crate) fn key(information: &[u8]) -> Result<SubjectPublicKey<'_>, DerError> {
    let mut parts = Reader::new(information).enter(tag::SEQUENCE)?;
    let algorithm = parts.take(tag::SEQUENCE)?;
    let (0, bits) = parts.bit_string()? else {
        return Err(DerError::Key);
    };
    Ok(SubjectPublicKey { algorithm, bits })
}
