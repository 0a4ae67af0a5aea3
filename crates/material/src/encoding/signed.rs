//! The parts of a certificate that its signature is verified with, as they stand in its bytes.

use super::reader::{Flaw, Reader, tag};

/// What somebody has signed.
pub(crate) struct Signed<'a> {
    /// The `tbsCertificate`.
    pub(crate) content: &'a [u8],
    /// The name of the one that has signed it.
    pub(crate) issuer: &'a [u8],
    /// The `signatureAlgorithm`, without its tag and length.
    pub(crate) algorithm: &'a [u8],
    /// The signature.
    pub(crate) signature: &'a [u8],
}

/// A public key.
pub(crate) struct Key<'a> {
    /// The `algorithm`, without its tag and length.
    pub(crate) algorithm: &'a [u8],
    /// The `subjectPublicKey`.
    pub(crate) bits: &'a [u8],
}

/// Reads a certificate, which [`super::check`] has passed.
pub(crate) fn signed(certificate: &[u8]) -> Result<Signed<'_>, Flaw> {
    let mut parts = Reader::new(certificate).within(tag::SEQUENCE)?;
    let content = parts.whole(tag::SEQUENCE)?;
    let algorithm = parts.take(tag::SEQUENCE)?;
    let (_, signature) = parts.bit_string()?;
    let mut fields = Reader::new(content).within(tag::SEQUENCE)?;
    super::version(&mut fields)?;
    fields.integer()?;
    fields.take(tag::SEQUENCE)?;
    let issuer = fields.whole(tag::SEQUENCE)?;
    Ok(Signed { content, issuer, algorithm, signature })
}

/// Reads a SubjectPublicKeyInfo.
pub(crate) fn key(information: &[u8]) -> Result<Key<'_>, Flaw> {
    let mut parts = Reader::new(information).within(tag::SEQUENCE)?;
    let algorithm = parts.take(tag::SEQUENCE)?;
    let (_, bits) = parts.bit_string()?;
    Ok(Key { algorithm, bits })
}
