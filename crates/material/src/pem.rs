//! PEM, encoded by us from parsed DER. Foreign bytes never pass through.

use std::time::SystemTime;

use pem_rfc7468::LineEnding;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use super::{
    Certificate, Expectations, MalformedCertificate, Material, Offer, PrivateKey, Rejection, key,
};

/// The text is no PEM of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No certificate, or one that cannot be read.
    #[error("it holds no readable certificate in PEM")]
    Certificate,
    /// A certificate that OpenSSL does not load.
    #[error(transparent)]
    Unloadable(MalformedCertificate),
    /// No private key, or one that cannot be read.
    #[error("it holds no readable private key in PEM")]
    Key,
}

/// The certificates in PEM, one block each, in order.
pub fn encode_certificates<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Vec<u8> {
    let mut pem = Vec::new();
    for certificate in certificates {
        append("CERTIFICATE", certificate.der(), &mut pem);
    }
    pem
}

/// The key in PEM (PKCS#8), in one buffer that never grows and is zeroed when dropped.
#[must_use]
pub fn encode_key(key: &PrivateKey) -> Zeroizing<Vec<u8>> {
    let mut pem = Zeroizing::new(Vec::new());
    append("PRIVATE KEY", key.expose(), &mut pem);
    pem
}

/// Appends one block. The buffer grows once, by exactly the block's size, so that growing an empty buffer
/// leaves no copy behind.
fn append(label: &str, der: &[u8], pem: &mut Vec<u8>) {
    // Neither call can fail: the label is valid, and the length is the one that the encoder asked for.
    let Ok(length) = pem_rfc7468::encoded_len(label, LineEnding::LF, der) else {
        return;
    };
    let start = pem.len();
    pem.reserve_exact(length);
    pem.resize(start + length, 0);
    let written = pem_rfc7468::encode(label, LineEnding::LF, der, &mut pem[start..]);
    debug_assert!(written.is_ok(), "the buffer was sized by the encoder");
}

/// The certificates of a PEM text; text around the blocks is passed over, as OpenSSL does.
pub fn decode_certificates(pem: &[u8]) -> Result<Vec<Certificate>, Malformed> {
    let mut certificates = Vec::new();
    for (position, der) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let der = der.map_err(|_| Malformed::Certificate)?;
        certificates.push(Certificate::parse(&der).map_err(|error| match error {
            MalformedCertificate::Unloadable { .. } => Malformed::Unloadable(error.at(position)),
            _ => Malformed::Certificate,
        })?);
    }
    if certificates.is_empty() {
        return Err(Malformed::Certificate);
    }
    Ok(certificates)
}

/// The public key that belongs to the first private key of a PEM text (PKCS#8, SEC1 or PKCS#1).
pub fn public_key_of(pem: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, Malformed> {
    key::public_key(&*decode_key(pem)?).map_err(|_| Malformed::Key)
}

/// The first private key of a PEM text, zeroed when dropped, which its type does not do by itself.
pub(super) fn decode_key(pem: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, Malformed> {
    PrivateKeyDer::from_pem_slice(pem).map(Zeroizing::new).map_err(|_| Malformed::Key)
}

/// Why the files of an earlier run are no set to go on with.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// One of the files cannot be read as PEM.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The set fails a check.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Reads a published set back and checks it like an offer of the agent's.
pub fn decode_material(
    chain: &[u8],
    key: &[u8],
    bundle: &[u8],
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, Unusable> {
    let concatenated = |pem| -> Result<Vec<u8>, Malformed> {
        let certificates = decode_certificates(pem)?;
        Ok(certificates.iter().flat_map(|certificate| certificate.der().iter().copied()).collect())
    };
    let key = match &*decode_key(key)? {
        PrivateKeyDer::Pkcs8(key) => Zeroizing::new(key.secret_pkcs8_der().to_vec()),
        _ => return Err(Malformed::Key.into()),
    };
    let offer = Offer {
        spiffe_id: None,
        hint: String::new(),
        chain: concatenated(chain)?,
        key,
        bundle: concatenated(bundle)?,
    };
    Ok(Material::check(offer, expectations, now)?)
}
