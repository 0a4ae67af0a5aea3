//! Writes key stores and trust stores.

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::crypto::{BLOCK, Derivation};
use super::{Digest, ITERATIONS, Password, Prf, ROUNDS, oid};
use crate::encoding::{element, integer, tag};
use crate::{Certificate, PrivateKey};

/// The kernel gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives no random bytes, which a key store needs")]
pub struct NoRandomness;

/// Why a text is no alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAlias {
    /// No characters, or too many.
    #[error("an alias has 1 to {LONGEST_ALIAS} characters")]
    Length,
    /// Each reader folds other characters its own way.
    #[error("an alias has printable ASCII characters only")]
    Characters,
}

/// Longest alias, in characters.
const LONGEST_ALIAS: usize = 128;
const SALT: usize = 16;

/// Fails if readers could take the name of an entry differently.
pub fn check_alias(alias: &str) -> Result<(), BadAlias> {
    if alias.is_empty() || alias.len() > LONGEST_ALIAS {
        return Err(BadAlias::Length);
    }
    let is_plain = alias.bytes().all(|it| matches!(it, b' '..=b'~'));
    if is_plain { Ok(()) } else { Err(BadAlias::Characters) }
}

/// A key store: the key and its chain, the leaf first, under one alias. The key is encrypted, because Java ignores one in
/// clear.
pub fn key_store<'a>(
    chain: impl IntoIterator<Item = &'a Certificate>,
    key: &PrivateKey,
    alias: &str,
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let mut chain = chain.into_iter().peekable();
    // It connects the key with its certificate.
    let id: Vec<u8> =
        chain.peek().map(|leaf| leaf.fingerprint().bytes().to_vec()).unwrap_or_default();
    let id = attribute(oid::LOCAL_KEY_ID, &element(tag::OCTET_STRING, &[&id]));
    let name = friendly_name(alias);
    let certificates = chain.enumerate().map(|(at, certificate)| {
        let attributes: &[&[u8]] = if at == 0 { &[&name, &id] } else { &[] };
        certificate_bag(certificate, attributes)
    });
    let certificates = sequence_of(certificates);
    let shrouded = encrypted(key.expose(), password)?;
    let key = sequence_of([bag(oid::SHROUDED_KEY_BAG, &shrouded, &[&name, &id])]);
    file(&[&certificates, &key], Some(password))
}

/// A trust store: each certificate has an alias of its own, and the attribute without which Java does not trust it. With a
/// password, readers that know it notice changes; without one, Java reads the store with no password.
pub fn trust_store<'a>(
    authorities: impl IntoIterator<Item = &'a Certificate>,
    password: Option<&Password>,
) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let usage = element(tag::OBJECT_IDENTIFIER, &[oid::ANY_KEY_USAGE]);
    let trusted = attribute(oid::TRUSTED_KEY_USAGE, &usage);
    let bags = authorities.into_iter().enumerate().map(|(at, certificate)| {
        let name = friendly_name(&format!("authority-{}", at + 1));
        certificate_bag(certificate, &[&name, &trusted])
    });
    file(&[&sequence_of(bags)], password)
}

/// `PFX` (section 4), from the contents of its safes.
fn file(safes: &[&[u8]], password: Option<&Password>) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let safes = sequence_of(safes.iter().map(|safe| data(safe)));
    let mac = password.map(|password| mac(&safes, password)).transpose()?;
    let mac: &[u8] = mac.as_ref().map_or(&[], |mac| mac);
    Ok(element(tag::SEQUENCE, &[&integer(3), &data(&safes), mac]))
}

/// `ContentInfo` of the type `data`.
fn data(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let content = element(tag::OCTET_STRING, &[content]);
    let content = element(tag::constructed(0), &[&content]);
    element(tag::SEQUENCE, &[&identifier(oid::DATA), &content])
}

/// `MacData` (section 4).
fn mac(content: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let salt = random::<SALT>()?;
    let key = Digest::Sha256.mac_key(password, &salt, ITERATIONS);
    let mac = hmac::sign(&key, content);
    let digest = element(
        tag::SEQUENCE,
        &[&algorithm(Digest::SHA256, &null()), &element(tag::OCTET_STRING, &[mac.as_ref()])],
    );
    let salt = element(tag::OCTET_STRING, &[&salt]);
    Ok(element(tag::SEQUENCE, &[&digest, &salt, &integer(ITERATIONS)]))
}

/// `EncryptedPrivateKeyInfo` with PBES2 (RFC 8018, appendix A.4).
fn encrypted(key: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let (salt, iv) = (random::<SALT>()?, random::<BLOCK>()?);
    let derivation = Derivation { salt: &salt, rounds: ROUNDS, prf: Prf::Sha256 };
    let bytes = derivation.encrypt(password, &iv, key);
    let parameters = element(
        tag::SEQUENCE,
        &[
            &element(tag::OCTET_STRING, &[&salt]),
            &integer(ITERATIONS),
            &algorithm(Prf::SHA256, &null()),
        ],
    );
    let scheme = element(
        tag::SEQUENCE,
        &[
            &algorithm(oid::PBKDF2, &parameters),
            &algorithm(oid::AES_256_CBC, &element(tag::OCTET_STRING, &[&iv])),
        ],
    );
    let bytes = element(tag::OCTET_STRING, &[&bytes]);
    Ok(element(tag::SEQUENCE, &[&algorithm(oid::PBES2, &scheme), &bytes]))
}

fn certificate_bag(certificate: &Certificate, attributes: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let der = element(tag::OCTET_STRING, &[certificate.der()]);
    let der = element(tag::constructed(0), &[&der]);
    let content = element(tag::SEQUENCE, &[&identifier(oid::X509_CERTIFICATE), &der]);
    bag(oid::CERTIFICATE_BAG, &content, attributes)
}

/// `SafeBag` (section 4.2).
fn bag(kind: u8, content: &[u8], attributes: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let kind = element(tag::OBJECT_IDENTIFIER, &[oid::BAG, &[kind]]);
    let content = element(tag::constructed(0), &[content]);
    if attributes.is_empty() {
        return element(tag::SEQUENCE, &[&kind, &content]);
    }
    // DER sorts the elements of a set.
    let mut attributes = attributes.to_vec();
    attributes.sort_unstable();
    element(tag::SEQUENCE, &[&kind, &content, &element(tag::SET, &attributes)])
}

/// `PKCS12Attribute` with one value.
fn attribute(kind: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
    element(tag::SEQUENCE, &[&identifier(kind), &element(tag::SET, &[value])])
}

/// The alias, in ASCII, as a `BMPString`.
fn friendly_name(alias: &str) -> Zeroizing<Vec<u8>> {
    let wide: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    attribute(oid::FRIENDLY_NAME, &element(tag::BMP_STRING, &[&wide]))
}

fn algorithm(kind: &[u8], parameters: &[u8]) -> Zeroizing<Vec<u8>> {
    element(tag::SEQUENCE, &[&identifier(kind), parameters])
}

fn identifier(content: &[u8]) -> Zeroizing<Vec<u8>> {
    element(tag::OBJECT_IDENTIFIER, &[content])
}

fn null() -> Zeroizing<Vec<u8>> {
    element(tag::NULL, &[])
}

fn sequence_of(elements: impl IntoIterator<Item = Zeroizing<Vec<u8>>>) -> Zeroizing<Vec<u8>> {
    let elements: Vec<_> = elements.into_iter().collect();
    let parts: Vec<&[u8]> = elements.iter().map(|it| it.as_slice()).collect();
    element(tag::SEQUENCE, &parts)
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], NoRandomness> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}
