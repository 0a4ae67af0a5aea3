//! PEM, encoded by pgsvid from parsed DER. Foreign bytes are never copied through.

use std::time::SystemTime;

use pem_rfc7468::LineEnding;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Tag};
use zeroize::Zeroizing;

use super::blocks::{self, Block, Found, Header};
use super::{
    Certificate, Expectations, MalformedCertificate, Material, Offer, PrivateKey, Rejection, key,
};

/// The text is not PEM of the requested kind.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No certificate, or an unreadable one.
    #[error("it holds no readable certificate in PEM")]
    Certificate,
    /// A certificate that OpenSSL does not load.
    #[error(transparent)]
    Unloadable(MalformedCertificate),
    /// No private key, or an unreadable one.
    #[error("it holds no readable private key in PEM")]
    Key,
    /// A block that pgsvid does not use makes OpenSSL refuse the file.
    #[error("PEM block {position} ({label}) {what}")]
    Block {
        /// Its position, from 1.
        position: usize,
        /// The label after BEGIN, escaped.
        label: String,
        /// What it is.
        what: &'static str,
    },
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

/// Key, leaf and intermediates in one PEM text: a reader that opens one file cannot mix two sets.
#[must_use]
pub fn encode_combined(material: &Material) -> Zeroizing<Vec<u8>> {
    let key = encode_key(material.key());
    let chain = encode_certificates(material.chain());
    // Of exact size: a growing buffer would leave copies of the key behind.
    Zeroizing::new([key.as_slice(), &chain].concat())
}

/// Appends one block. The buffer grows once, by exactly the block's size, so that growing an empty buffer leaves no copy of a
/// key behind.
fn append(label: &str, der: &[u8], pem: &mut Vec<u8>) {
    // Neither call can fail: the label is valid, and the encoder gave the length.
    let Ok(length) = pem_rfc7468::encoded_len(label, LineEnding::LF, der) else {
        return;
    };
    let start = pem.len();
    pem.reserve_exact(length);
    pem.resize(start + length, 0);
    let written = pem_rfc7468::encode(label, LineEnding::LF, der, &mut pem[start..]);
    debug_assert!(written.is_ok(), "the buffer was sized by the encoder");
}

/// The labels that OpenSSL reads as a certificate (`pem.h`).
pub(crate) const CERTIFICATES: [&[u8]; 3] =
    [b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"];
/// The labels that it reads as a private key, as far as pgsvid supports them.
pub(crate) const KEYS: [&[u8]; 3] = [b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY"];

/// The certificates of a PEM text. Text around the blocks is skipped, as OpenSSL does.
pub fn decode_certificates(pem: &[u8]) -> Result<Vec<Certificate>, Malformed> {
    let mut certificates = Vec::new();
    for found in blocks::blocks(pem) {
        let block = match found {
            Found::Block(block) if CERTIFICATES.contains(&block.label.as_slice()) => block,
            Found::Block(_) | Found::PassedOver { .. } => continue,
            Found::Broken(_) => return Err(Malformed::Certificate),
        };
        if block.header != Header::None {
            return Err(Malformed::Certificate);
        }
        let position = certificates.len() + 1;
        let parsed = Certificate::parse(certificate_of(&block));
        certificates.push(parsed.map_err(|error| match error {
            MalformedCertificate::Unloadable { .. } => Malformed::Unloadable(error.at(position)),
            _ => Malformed::Certificate,
        })?);
    }
    if certificates.is_empty() {
        return Err(Malformed::Certificate);
    }
    Ok(certificates)
}

/// How many revocation lists OpenSSL reads from a PEM text. `None` if it refuses the text: a block does not end correctly, or
/// holds no DER sequence of a sequence, as a list is (`PEM_X509_INFO_read_bio`, `d2i_X509_CRL`).
#[must_use]
pub fn count_revocation_lists(pem: &[u8]) -> Option<usize> {
    let mut count = 0;
    for found in blocks::blocks(pem) {
        match found {
            Found::Block(block) if block.label == b"X509 CRL" => {
                let (_, list) = sequence(&block.bytes)?;
                sequence(list)?;
                if block.header != Header::None {
                    return None;
                }
                count += 1;
            }
            Found::Block(_) | Found::PassedOver { .. } => {}
            Found::Broken(_) => return None,
        }
    }
    Some(count)
}

/// What follows a DER sequence, and what is in it.
fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, found) = Any::from_der(bytes).ok()?;
    (found.tag() == Tag::Sequence).then_some((rest, found.data))
}

/// The certificate of a block, without the trust settings that OpenSSL appends.
pub(crate) fn certificate_of(block: &Block) -> &[u8] {
    if block.label == CERTIFICATES[2]
        && let Ok((rest, _)) = Any::from_der(&block.bytes)
    {
        return &block.bytes[..block.bytes.len() - rest.len()];
    }
    &block.bytes
}

/// The public key that belongs to the first private key of a PEM text (PKCS#8, SEC1 or PKCS#1).
pub fn public_key_of(pem: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, Malformed> {
    key::public_key(&*decode_key(pem)?).map_err(|_| Malformed::Key)
}

/// The first private key of a PEM text, zeroed when dropped, which its type alone does not do.
pub(super) fn decode_key(pem: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, Malformed> {
    for found in blocks::blocks(pem) {
        match found {
            Found::Block(block) if KEYS.contains(&block.label.as_slice()) => {
                return key_of(&block).ok_or(Malformed::Key);
            }
            Found::Block(_) | Found::PassedOver { .. } => {}
            Found::Broken(_) => break,
        }
    }
    Err(Malformed::Key)
}

/// The private key of a block; `None` if it has a passphrase.
pub(crate) fn key_of(block: &Block) -> Option<Zeroizing<PrivateKeyDer<'static>>> {
    if block.header != Header::None {
        return None;
    }
    let bytes = block.bytes.to_vec();
    Some(Zeroizing::new(match block.label.as_slice() {
        b"EC PRIVATE KEY" => PrivateKeyDer::Sec1(bytes.into()),
        b"RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(bytes.into()),
        _ => PrivateKeyDer::Pkcs8(bytes.into()),
    }))
}

/// A file of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The leaf and its intermediates.
    Chain,
    /// The private key.
    Key,
    /// The authorities.
    Bundle,
}

/// Why the files of an earlier run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// One of the files cannot be read as PEM.
    #[error("{cause}")]
    Malformed {
        /// Which file of the set.
        part: Part,
        /// What is wrong.
        cause: Malformed,
    },
    /// The set fails a check.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Reads files that another program has written, and checks them like an offer of the agent's. The key may be PKCS#8, PKCS#1
/// or SEC1.
pub fn read_material(
    chain: &[u8],
    key: &[u8],
    bundle: &[u8],
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, Unusable> {
    let malformed = |part| move |cause| Unusable::Malformed { part, cause };
    let certificates = decode_certificates(chain).map_err(malformed(Part::Chain))?;
    let leaf =
        certificates.first().ok_or_else(|| malformed(Part::Chain)(Malformed::Certificate))?;
    let key = decode_key(key).map_err(malformed(Part::Key))?;
    let key = PrivateKey::of(&key, leaf).map_err(Rejection::from)?;
    let key = key.ok_or(Rejection::KeyMismatch)?;
    let authorities = decode_certificates(bundle).map_err(malformed(Part::Bundle))?;
    let concatenated = |certificates: &[Certificate]| {
        certificates.iter().flat_map(|certificate| certificate.der().iter().copied()).collect()
    };
    let (chain, bundle) = (concatenated(&certificates), concatenated(&authorities));
    let offer = Offer { spiffe_id: None, hint: String::new(), chain, key, bundle };
    Ok(Material::check(offer, expectations, now)?)
}

/// Reads a published set back and checks it like an offer of the agent's.
pub fn decode_material(
    chain: &[u8],
    key: &[u8],
    bundle: &[u8],
    expectations: &Expectations,
    now: SystemTime,
) -> Result<Material, Unusable> {
    let malformed = |part| move |cause| Unusable::Malformed { part, cause };
    let concatenated = |pem, part| -> Result<Vec<u8>, Unusable> {
        let certificates = decode_certificates(pem).map_err(malformed(part))?;
        Ok(certificates.iter().flat_map(|certificate| certificate.der().iter().copied()).collect())
    };
    let chain = concatenated(chain, Part::Chain)?;
    let key = match &*decode_key(key).map_err(malformed(Part::Key))? {
        PrivateKeyDer::Pkcs8(key) => Zeroizing::new(key.secret_pkcs8_der().to_vec()),
        _ => return Err(malformed(Part::Key)(Malformed::Key)),
    };
    let bundle = concatenated(bundle, Part::Bundle)?;
    let offer = Offer { spiffe_id: None, hint: String::new(), chain, key, bundle };
    Ok(Material::check(offer, expectations, now)?)
}
