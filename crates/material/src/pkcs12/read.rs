//! Reads stores that anyone may have written.

use std::num::NonZeroU32;

use ring::hmac;
use zeroize::Zeroizing;

use super::crypto::{BLOCK, Cipher, Derivation};
use super::{Digest, Password, Prf, oid};
use crate::LARGEST_BUNDLE;
use crate::encoding::{DerError, Reader, tag};

/// Most rounds of hashing for one store: about a second. No program's default is higher.
const MOST_ROUNDS: u32 = 2_000_000;

/// What a store is, besides its certificates and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many certificates were read.
    pub certificates: usize,
    /// How many of them Java trusts: they have Oracle's attribute.
    pub trusted: usize,
    /// The alias of each key, also of an encrypted one; empty for a key without an alias.
    pub aliases: Vec<String>,
    /// Whether something in it is encrypted, and no password was given.
    pub locked: bool,
    /// Whether it was written by someone who knew the password.
    pub integrity: Integrity,
}

/// Whether a store was written by someone who knew the password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Integrity {
    /// It has no MAC, which would show that.
    #[default]
    Unprotected,
    /// It has one, and no password was given.
    Unchecked,
    /// Its MAC is right.
    Proven,
}

/// Why a store cannot be read. The text follows "FILE: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not the structure that RFC 7292 defines, or not in DER.
    #[error("it is a PKCS#12 that is damaged, or is not in DER")]
    Malformed,
    /// An algorithm that is not supported.
    #[error(
        "it is a PKCS#12 with an encryption or MAC that pgsvid does not read (it reads PBES2 with PBKDF2 and AES-128 or AES-256, and a MAC \
         with SHA-1 or SHA-2)"
    )]
    Algorithm,
    /// Too many rounds, or none.
    #[error(
        "it is a PKCS#12 whose passwords are hashed more than {MOST_ROUNDS} times in all, or not at all"
    )]
    Rounds,
    /// The password is wrong, or the store was changed.
    #[error("the password is wrong, or this PKCS#12 was changed after it was written")]
    Password,
    /// Too many entries.
    #[error("it is a PKCS#12 with more than {LARGEST_BUNDLE} entries")]
    Large,
}

impl From<DerError> for Damage {
    fn from(_: DerError) -> Self {
        Self::Malformed
    }
}

/// The contents of a store.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) facts: Facts,
    /// Each in DER.
    pub(crate) certificates: Vec<Zeroizing<Vec<u8>>>,
    /// Each in DER, PKCS#8.
    pub(crate) keys: Vec<Zeroizing<Vec<u8>>>,
    /// How many more rounds of hashing are allowed.
    rounds_left: u32,
}

/// Reads a store. Without a password, what is encrypted in it is left out.
pub(crate) fn open(der: &[u8], password: Option<&Password>) -> Result<Store, Damage> {
    open_within(der, password, MOST_ROUNDS)
}

/// As [`open`], with at most this many rounds in all.
pub(super) fn open_within(
    der: &[u8],
    password: Option<&Password>,
    rounds_left: u32,
) -> Result<Store, Damage> {
    let mut outermost = Reader::new(der);
    let mut file = outermost.enter(tag::SEQUENCE)?;
    outermost.end()?;
    file.integer()?;
    let safes = data(file.enter(tag::SEQUENCE)?)?;
    let mut store = Store { rounds_left, ..Store::default() };
    if let Some(mac) = file.optional_enter(tag::SEQUENCE)? {
        store.facts.integrity = store.check(mac, safes, password)?;
    }
    file.end()?;
    let mut rest = Reader::new(safes).enter(tag::SEQUENCE)?;
    while !rest.is_empty() {
        let safe = rest.enter(tag::SEQUENCE)?;
        let mut kind = safe;
        if kind.object_identifier()? == oid::ENCRYPTED_DATA {
            let encrypted = encrypted_data(safe)?;
            let Some(password) = password else {
                store.facts.locked = true;
                continue;
            };
            let plain = store.decrypt(&encrypted, password)?;
            store.bags(&plain, Some(password))?;
        } else {
            store.bags(data(safe)?, password)?;
        }
    }
    Ok(store)
}

impl Store {
    /// Counts the rounds of all entries together: many entries with few rounds each cost as much as one with many.
    fn spend(&mut self, rounds: NonZeroU32) -> Result<(), Damage> {
        self.rounds_left = self.rounds_left.checked_sub(rounds.get()).ok_or(Damage::Rounds)?;
        Ok(())
    }

    fn decrypt(
        &mut self,
        encrypted: &Encrypted<'_>,
        password: &Password,
    ) -> Result<Zeroizing<Vec<u8>>, Damage> {
        self.spend(encrypted.derivation.rounds)?;
        encrypted.decrypt(password)
    }

    /// Checks the MAC of `content` (RFC 7292, section 4 and appendix B).
    fn check(
        &mut self,
        mut mac: Reader<'_>,
        content: &[u8],
        password: Option<&Password>,
    ) -> Result<Integrity, Damage> {
        let mut info = mac.enter(tag::SEQUENCE)?;
        let mut algorithm = info.enter(tag::SEQUENCE)?;
        let digest = Digest::of(algorithm.object_identifier()?).ok_or(Damage::Algorithm)?;
        let expected = info.take(tag::OCTET_STRING)?;
        let salt = mac.take(tag::OCTET_STRING)?;
        let rounds = match mac.optional(tag::INTEGER)? {
            Some(digits) => rounds(digits)?,
            None => NonZeroU32::MIN,
        };
        let Some(password) = password else { return Ok(Integrity::Unchecked) };
        self.spend(rounds)?;
        let key = digest.mac_key(password, salt, rounds.get());
        hmac::verify(&key, content, expected).map_err(|_| Damage::Password)?;
        Ok(Integrity::Proven)
    }

    /// `SafeContents` (RFC 7292, section 4.2).
    fn bags(&mut self, content: &[u8], password: Option<&Password>) -> Result<(), Damage> {
        let mut rest = Reader::new(content).enter(tag::SEQUENCE)?;
        while !rest.is_empty() {
            if self.certificates.len() + self.facts.aliases.len() >= LARGEST_BUNDLE {
                return Err(Damage::Large);
            }
            self.bag(rest.enter(tag::SEQUENCE)?, password)?;
        }
        Ok(())
    }

    fn bag(&mut self, mut bag: Reader<'_>, password: Option<&Password>) -> Result<(), Damage> {
        let kind = bag.object_identifier()?;
        let mut content = bag.enter(tag::constructed(0))?;
        let attributes = Attributes::read(bag.optional_enter(tag::SET)?)?;
        let Some([kind]) = kind.strip_prefix(oid::BAG) else { return Err(Damage::Malformed) };
        match *kind {
            oid::KEY_BAG => {
                self.keys.push(Zeroizing::new(content.raw_element(tag::SEQUENCE)?.to_vec()));
                self.facts.aliases.push(attributes.name);
            }
            oid::SHROUDED_KEY_BAG => {
                let mut fields = content.enter(tag::SEQUENCE)?;
                let encrypted = Encrypted::read(&mut fields, tag::OCTET_STRING)?;
                self.facts.aliases.push(attributes.name);
                match password {
                    Some(password) => {
                        let key = self.decrypt(&encrypted, password)?;
                        self.keys.push(key);
                    }
                    None => self.facts.locked = true,
                }
            }
            oid::CERTIFICATE_BAG => {
                let mut fields = content.enter(tag::SEQUENCE)?;
                // The other type, of SDSI, is not in use.
                if fields.object_identifier()? == oid::X509_CERTIFICATE {
                    let mut value = fields.enter(tag::constructed(0))?;
                    let der = value.take(tag::OCTET_STRING)?;
                    self.certificates.push(Zeroizing::new(der.to_vec()));
                    self.facts.certificates += 1;
                    self.facts.trusted += usize::from(attributes.trusted);
                }
            }
            // Revocation lists, secrets, and bags of bags.
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Attributes {
    name: String,
    trusted: bool,
}

impl Attributes {
    fn read(set: Option<Reader<'_>>) -> Result<Self, Damage> {
        let mut found = Self::default();
        let Some(mut set) = set else { return Ok(found) };
        while !set.is_empty() {
            let mut attribute = set.enter(tag::SEQUENCE)?;
            let kind = attribute.object_identifier()?;
            let mut values = attribute.enter(tag::SET)?;
            if kind == oid::FRIENDLY_NAME {
                let pairs = values.take(tag::BMP_STRING)?.chunks_exact(2);
                let units: Vec<u16> = pairs
                    .map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)))
                    .collect();
                found.name = String::from_utf16_lossy(&units);
            }
            found.trusted |= kind == oid::TRUSTED_KEY_USAGE;
        }
        Ok(found)
    }
}

/// The content of a `ContentInfo` of the type `data`.
fn data(mut info: Reader<'_>) -> Result<&[u8], Damage> {
    if info.object_identifier()? != oid::DATA {
        // Signed with a public key instead of a password.
        return Err(Damage::Algorithm);
    }
    Ok(info.enter(tag::constructed(0))?.take(tag::OCTET_STRING)?)
}

/// The content of a `ContentInfo` of the type `encryptedData` (RFC 2315, section 13).
fn encrypted_data(mut info: Reader<'_>) -> Result<Encrypted<'_>, Damage> {
    info.object_identifier()?;
    let mut data = info.enter(tag::constructed(0))?.enter(tag::SEQUENCE)?;
    data.integer()?;
    let mut content = data.enter(tag::SEQUENCE)?;
    content.object_identifier()?;
    Encrypted::read(&mut content, tag::primitive(0))
}

/// Bytes that are encrypted with PBES2, and how.
struct Encrypted<'a> {
    derivation: Derivation<'a>,
    cipher: Cipher,
    iv: [u8; BLOCK],
    bytes: &'a [u8],
}

impl<'a> Encrypted<'a> {
    /// The algorithm, then the bytes in an element with this tag.
    fn read(fields: &mut Reader<'a>, tag: u8) -> Result<Self, Damage> {
        let mut scheme = fields.enter(tag::SEQUENCE)?;
        if scheme.object_identifier()? != oid::PBES2 {
            return Err(Damage::Algorithm);
        }
        let mut scheme = scheme.enter(tag::SEQUENCE)?;
        let derivation = derivation(scheme.enter(tag::SEQUENCE)?)?;
        let mut cipher = scheme.enter(tag::SEQUENCE)?;
        let cipher_kind = match cipher.object_identifier()? {
            oid::AES_128_CBC => Cipher::Aes128,
            oid::AES_256_CBC => Cipher::Aes256,
            _ => return Err(Damage::Algorithm),
        };
        let iv = cipher.take(tag::OCTET_STRING)?.try_into().map_err(|_| Damage::Malformed)?;
        Ok(Self { derivation, cipher: cipher_kind, iv, bytes: fields.take(tag)? })
    }

    fn decrypt(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, Damage> {
        let plain = self.derivation.decrypt(password, self.cipher, &self.iv, self.bytes);
        // With another password one in 256 has padding that looks right.
        plain
            .filter(|plain| {
                Reader::new(plain)
                    .raw_element(tag::SEQUENCE)
                    .is_ok_and(|it| it.len() == plain.len())
            })
            .ok_or(Damage::Password)
    }
}

/// PBKDF2 (RFC 8018, appendix A.2).
fn derivation(mut algorithm: Reader<'_>) -> Result<Derivation<'_>, Damage> {
    if algorithm.object_identifier()? != oid::PBKDF2 {
        return Err(Damage::Algorithm);
    }
    let mut parameters = algorithm.enter(tag::SEQUENCE)?;
    let salt = parameters.take(tag::OCTET_STRING)?;
    let rounds = rounds(parameters.integer()?)?;
    // The length of the key follows from the cipher.
    parameters.optional(tag::INTEGER)?;
    let prf = match parameters.optional_enter(tag::SEQUENCE)? {
        Some(mut prf) => Prf::of(prf.object_identifier()?).ok_or(Damage::Algorithm)?,
        None => Prf::Sha1,
    };
    Ok(Derivation { salt, rounds, prf })
}

fn rounds(digits: &[u8]) -> Result<NonZeroU32, Damage> {
    let number = digits
        .iter()
        .try_fold(0_u32, |number, digit| number.checked_mul(256)?.checked_add(u32::from(*digit)));
    number.filter(|number| *number <= MOST_ROUNDS).and_then(NonZeroU32::new).ok_or(Damage::Rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e10_a_number_of_rounds_that_no_program_writes_is_refused_before_they_are_computed() {
        let number = |number: u32| rounds(&number.to_be_bytes()).map(NonZeroU32::get);
        for possible in [1, 2048, 600_000, MOST_ROUNDS] {
            assert_eq!(number(possible), Ok(possible));
        }
        for other in [0, MOST_ROUNDS + 1, u32::MAX] {
            assert_eq!(number(other), Err(Damage::Rounds));
        }
        assert_eq!(rounds(&[]), Err(Damage::Rounds));
        assert_eq!(rounds(&[1; 5]), Err(Damage::Rounds));
    }
}
