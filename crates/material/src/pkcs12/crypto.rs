//! Keys from passwords, encryption, and the MAC.

use std::num::NonZeroU32;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use aes::{Aes128, Aes256};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::Password;

/// The block of AES, in bytes.
pub(super) const BLOCK: usize = 16;

/// A pseudo-random function of PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prf {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Prf {
    /// Returns the function for this OID (1.2.840.113549.2.…), without tag and length.
    pub(super) fn of(identifier: &[u8]) -> Option<Self> {
        Some(match identifier.strip_prefix(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2])? {
            [7] => Self::Sha1,
            [9] => Self::Sha256,
            [10] => Self::Sha384,
            [11] => Self::Sha512,
            _ => return None,
        })
    }

    /// The contents of the object identifier of HMAC-SHA256.
    pub(super) const SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];

    fn algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// How a key is derived from a password: PBKDF2.
pub(super) struct Derivation<'a> {
    pub(super) salt: &'a [u8],
    pub(super) rounds: NonZeroU32,
    pub(super) prf: Prf,
}

/// AES in CBC mode. Its key has 16 or 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128,
    Aes256,
}

impl Derivation<'_> {
    pub(super) fn key<const LENGTH: usize>(&self, password: &Password) -> Zeroizing<[u8; LENGTH]> {
        let mut key = Zeroizing::new([0; LENGTH]);
        let (prf, rounds) = (self.prf.algorithm(), self.rounds);
        pbkdf2::derive(prf, rounds, self.salt, password.bytes(), key.as_mut_slice());
        key
    }

    /// Encrypts with AES-256.
    pub(super) fn encrypt(
        &self,
        password: &Password,
        iv: &[u8; BLOCK],
        plain: &[u8],
    ) -> Zeroizing<Vec<u8>> {
        let key = self.key::<32>(password);
        let cipher = cbc::Encryptor::<Aes256>::new((&*key).into(), iv.into());
        Zeroizing::new(cipher.encrypt_padded_vec::<Pkcs7>(plain))
    }

    /// `None` if the padding is wrong, as after another password or changed bytes. A wrong password passes the padding check
    /// once in 256 times; the result is garbage.
    pub(super) fn decrypt(
        &self,
        password: &Password,
        cipher: Cipher,
        iv: &[u8; BLOCK],
        bytes: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let plain = match cipher {
            Cipher::Aes128 => {
                let key = self.key::<16>(password);
                cbc::Decryptor::<Aes128>::new((&*key).into(), iv.into())
                    .decrypt_padded_vec::<Pkcs7>(bytes)
            }
            Cipher::Aes256 => {
                let key = self.key::<32>(password);
                cbc::Decryptor::<Aes256>::new((&*key).into(), iv.into())
                    .decrypt_padded_vec::<Pkcs7>(bytes)
            }
        };
        plain.ok().map(Zeroizing::new)
    }
}

/// The hash function of a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// Returns the function for this OID, without tag and length.
    pub(super) fn of(identifier: &[u8]) -> Option<Self> {
        if identifier == [0x2b, 14, 3, 2, 26] {
            return Some(Self::Sha1);
        }
        Some(match identifier.strip_prefix(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2])? {
            [1] => Self::Sha256,
            [2] => Self::Sha384,
            [3] => Self::Sha512,
            _ => return None,
        })
    }

    /// The contents of the object identifier of SHA-256.
    pub(super) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

    fn algorithms(self) -> (&'static digest::Algorithm, hmac::Algorithm) {
        match self {
            Self::Sha1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256),
            Self::Sha384 => (&digest::SHA384, hmac::HMAC_SHA384),
            Self::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512),
        }
    }

    /// The key of a MAC (RFC 7292, appendix B.2). It is as long as one hash, so the RFC's loop runs only once.
    pub(super) fn mac_key(self, password: &Password, salt: &[u8], rounds: u32) -> hmac::Key {
        const FOR_A_MAC: u8 = 3;
        let (digest, hmac) = self.algorithms();
        let block = digest.block_len();
        let repeat_to_block = |text: &[u8]| {
            let length = text.len().next_multiple_of(block);
            Zeroizing::new(text.iter().copied().cycle().take(length).collect::<Vec<_>>())
        };
        let mut context = digest::Context::new(digest);
        context.update(&vec![FOR_A_MAC; block]);
        context.update(&repeat_to_block(salt));
        context.update(&repeat_to_block(&password.wide()));
        let mut key = context.finish();
        for _ in 1..rounds {
            key = digest::digest(digest, key.as_ref());
        }
        hmac::Key::new(hmac, key.as_ref())
    }
}
