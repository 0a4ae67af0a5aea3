//! What OpenSSL reads of files in place beside leaf, key and authorities: PostgreSQL and libpq load them as they are, and one
//! block that OpenSSL cannot read makes it refuse the file (`PEM_X509_INFO_read_bio`, `PEM_read_bio_PrivateKey`).
//!
//! A chain needs no more than `pem::decode_certificates`: OpenSSL skips blocks with other labels there.

use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::blocks::{self, Block, Found, Header, escaped};
use super::key;
use super::pem::{self, KEYS, Malformed, Part, Unusable};

/// How OpenSSL recognises a private key, of whatever kind.
const KEY: &[u8] = b"PRIVATE KEY";
/// It skips a key with a passphrase in a bundle.
const ENCRYPTED: &[u8] = b"ENCRYPTED PRIVATE KEY";
const LIST: &[u8] = b"X509 CRL";

/// The number of revocation lists in the bundle, which OpenSSL loads, too.
///
/// # Errors
/// If OpenSSL refuses the key file or the bundle because of a block that pgsvid does not use: it names file and block.
pub fn other_blocks(private_key: &[u8], bundle: &[u8]) -> Result<usize, Unusable> {
    of_key_file(private_key).map_err(|cause| Unusable::Malformed { part: Part::Key, cause })?;
    of_bundle(bundle).map_err(|cause| Unusable::Malformed { part: Part::Bundle, cause })
}

/// OpenSSL takes the first private key of the file, also one that pgsvid would skip.
fn of_key_file(text: &[u8]) -> Result<(), Malformed> {
    for (at, found) in blocks::blocks(text).enumerate() {
        let Found::Block(block) = found else { continue };
        if KEYS.contains(&block.label.as_slice()) {
            break;
        }
        if block.label.ends_with(KEY) {
            return Err(malformed(
                at,
                &block,
                "is the first private key, so OpenSSL uses it, and it has a passphrase or is of an unsupported type",
            ));
        }
    }
    Ok(())
}

fn of_bundle(text: &[u8]) -> Result<usize, Malformed> {
    let mut lists = 0;
    for (at, found) in blocks::blocks(text).enumerate() {
        let Found::Block(block) = found else { continue };
        if block.label == LIST {
            if !is_list(&block) {
                return Err(malformed(
                    at,
                    &block,
                    "is a broken list of revoked certificates, and OpenSSL loads nothing from a bundle with one",
                ));
            }
            lists += 1;
        } else if block.label.ends_with(KEY) && block.label != ENCRYPTED && !is_key(&block) {
            return Err(malformed(
                at,
                &block,
                "is a private key that is broken or of an unsupported type, and OpenSSL loads nothing from a bundle with a broken one",
            ));
        }
    }
    Ok(lists)
}

/// Whether OpenSSL loads the block as a revocation list.
fn is_list(block: &Block) -> bool {
    block.header == Header::None && CertificateRevocationList::from_der(&block.bytes).is_ok()
}

/// OpenSSL keeps a key with a passphrase as it is.
fn is_key(block: &Block) -> bool {
    match (block.header, pem::key_of(block)) {
        (Header::Encrypted, _) => true,
        (_, Some(found)) => {
            KEYS.contains(&block.label.as_slice()) && key::public_key(&found).is_ok()
        }
        (_, None) => false,
    }
}

fn malformed(at: usize, block: &Block, what: &'static str) -> Malformed {
    Malformed::Block { position: at + 1, label: escaped(&block.label), what }
}
