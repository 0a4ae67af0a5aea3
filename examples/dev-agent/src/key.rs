//! Keys of the types that SPIRE offers, and Ed25519, which it does not.

use std::fmt;
use std::str::FromStr;

use rcgen::{KeyPair, SignatureAlgorithm};
use ring::rand::{SecureRandom, SystemRandom};
use rsa::pkcs8::EncodePrivateKey;

use crate::Error;

/// The type of a key, of a leaf or of an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyType {
    /// Elliptic curve P-256, SPIRE's default.
    #[default]
    EcP256,
    /// Elliptic curve P-384.
    EcP384,
    /// RSA with 2048 bits. A key takes some tenths of a second.
    Rsa2048,
    /// RSA with 4096 bits, SPIRE's longest. A key takes seconds.
    Rsa4096,
    /// Ed25519. SPIRE never uses it; a CA that signs with it breaks SCRAM channel binding.
    Ed25519,
}

impl KeyType {
    /// All types, in the order of this enum.
    pub const ALL: [Self; 5] =
        [Self::EcP256, Self::EcP384, Self::Rsa2048, Self::Rsa4096, Self::Ed25519];

    /// A new key.
    pub(crate) fn generate(self) -> Result<KeyPair, Error> {
        let result = match self {
            Self::Rsa2048 => return self.generate_rsa(2048),
            Self::Rsa4096 => return self.generate_rsa(4096),
            Self::Ed25519 => return self.generate_ed25519(),
            _ => KeyPair::generate_for(self.algorithm()),
        };
        result.map_err(|error| self.error(&error))
    }

    /// The key that an earlier one was serialized to.
    pub(crate) fn parse(self, pkcs8: &[u8]) -> Result<KeyPair, Error> {
        KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), self.algorithm())
            .map_err(|error| self.error(&error))
    }

    // ring signs with RSA keys, but does not generate them.
    fn generate_rsa(self, bits: usize) -> Result<KeyPair, Error> {
        let mut random = rsa::rand_core::OsRng;
        let key = rsa::RsaPrivateKey::new(&mut random, bits).map_err(|error| self.error(&error))?;
        let pkcs8 = key.to_pkcs8_der().map_err(|error| self.error(&error))?;
        self.parse(pkcs8.as_bytes())
    }

    // ring and rcgen make version 2 of PKCS#8, with the public key, which OpenSSL cannot read. Go, and
    // so SPIRE, makes version 1 (RFC 8410, section 7).
    fn generate_ed25519(self) -> Result<KeyPair, Error> {
        const HEAD: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let mut pkcs8 = [0; 48];
        pkcs8[..16].copy_from_slice(&HEAD);
        SystemRandom::new().fill(&mut pkcs8[16..]).map_err(|error| self.error(&error))?;
        self.parse(&pkcs8)
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Rsa2048 | Self::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        }
    }

    fn error(self, cause: &dyn fmt::Display) -> Error {
        Error::Key { kind: self, cause: cause.to_string() }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcP256 => "ec-p256",
            Self::EcP384 => "ec-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        })
    }
}

impl FromStr for KeyType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == text).ok_or_else(|| {
            let names = Self::ALL.map(|kind| kind.to_string()).join(", ");
            format!("unknown key type, it is one of {names}")
        })
    }
}
