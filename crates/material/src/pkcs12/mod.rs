//! PKCS#12 (RFC 7292): key stores and trust stores, as Java, OpenSSL and .NET read them.
//!
//! Written are PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC for the key, and an HMAC-SHA256 over everything: Java 8u301 and
//! later, OpenSSL 1.1.1 and 3, and .NET read these, and nothing weaker is needed. Certificates are not secret, and stay in
//! clear: readers then derive one key fewer.

mod crypto;
mod password;
mod read;
mod write;

use std::num::NonZeroU32;

use crypto::{Digest, Prf};
pub use password::{BadPassword, LONGEST_PASSWORD, Password};
pub(crate) use read::open;
pub use read::{Damage, Facts, Integrity};
pub use write::{BadAlias, NoRandomness, check_alias, key_store, trust_store};

/// How often the password is hashed. pgjdbc opens the store for each connection: 2,048 rounds cost nothing that can be
/// measured, 10,000 cost 10 ms. The password protects only copies of the file: the key lies beside it in PEM.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(2048) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};
const ITERATIONS: u32 = ROUNDS.get();
/// The alias whose key pgjdbc shows (`PKCS12KeyManager`).
pub const PGJDBC_ALIAS: &str = "user";

/// Whether pgjdbc shows a key with this alias.
#[must_use]
pub fn pgjdbc_takes(alias: &str) -> bool {
    alias.eq_ignore_ascii_case(PGJDBC_ALIAS)
}

/// The contents of object identifiers.
mod oid {
    pub(super) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    pub(super) const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
    pub(super) const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
    pub(super) const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
    /// Before the last number of a kind of bag.
    pub(super) const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
    pub(super) const KEY_BAG: u8 = 1;
    pub(super) const SHROUDED_KEY_BAG: u8 = 2;
    pub(super) const CERTIFICATE_BAG: u8 = 3;
    pub(super) const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
    pub(super) const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
    pub(super) const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
    pub(super) const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
    pub(super) const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
    /// Oracle's 2.16.840.1.113894.746875.1.1: without it Java takes a certificate for a part of a chain, and trusts nothing.
    pub(super) const TRUSTED_KEY_USAGE: &[u8] =
        &[0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1];
    pub(super) const ANY_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0];
}

#[cfg(test)]
mod tests;
