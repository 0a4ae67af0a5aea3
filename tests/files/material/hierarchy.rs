//! Builds certificates, and hierarchies of them.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use pgsvid::material::Offer;
use pgsvid::timing;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData as _, SigningKey as _,
};
use test_support::{Directory, openssl};
use zeroize::Zeroizing;

use crate::material::mutation::element;
use crate::material::offers::ID;

/// The leaf's key, and those that others may have: each authority has the key of its own number.
const LEAF_KEY: usize = 0;
static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    let kinds = [&PKCS_ECDSA_P256_SHA256; 5].into_iter().chain([&PKCS_ECDSA_P384_SHA384]);
    kinds.map(|kind| KeyPair::generate_for(kind).unwrap()).collect()
});

/// The leaf's key, in PKCS#8.
fn leaf_key() -> Vec<u8> {
    KEYS[LEAF_KEY].serialize_der()
}

pub(super) const HOUR: i64 = 3600;
/// keyUsage, as its bit string has it.
pub(crate) const SIGNATURE: u8 = 0x80;
pub(super) const CERT_SIGN: u8 = 0x04;

/// What is to be in a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) key: usize,
    pub(crate) signer: usize,
    pub(crate) serial: u8,
    /// Seconds from now.
    pub(crate) validity: (i64, i64),
    pub(crate) version_1: bool,
    pub(crate) other_inner_algorithm: bool,
    /// Object identifier, whether it is critical, content.
    pub(crate) extensions: Vec<(Vec<u8>, bool, Vec<u8>)>,
    /// A whole SubjectPublicKeyInfo instead of that of the key.
    pub(crate) public_key: Option<Vec<u8>>,
    /// A whole `AlgorithmIdentifier` instead of that of the signer.
    pub(crate) algorithm: Option<Vec<u8>>,
    pub(crate) signing: Signing,
}

/// Where the signature comes from.
#[derive(Clone, Debug)]
pub(crate) enum Signing {
    /// The signer's key.
    Own,
    /// The same, and the bit string says that its last bit, which is 0, is unused.
    UnusedBit,
    /// Nobody has made these bytes with a key.
    Forged(Vec<u8>),
    /// OpenSSL's program, with this key in PEM and this digest.
    Program { key: Vec<u8>, digest: &'static str },
}

/// What somebody sends, and what is trusted.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) leaf: Vec<u8>,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) trusted: Vec<Vec<u8>>,
}

pub(crate) fn name(text: &str, tag: u8) -> Vec<u8> {
    let value = [element(6, &[0x55, 4, 3]), element(tag, text.as_bytes())].concat();
    element(0x30, &element(0x31, &element(0x30, &value)))
}

pub(crate) fn identifier_of(key: usize) -> Vec<u8> {
    vec![0xa0 + u8::try_from(key).unwrap(); 20]
}

pub(crate) fn flags(bits: u8) -> Vec<u8> {
    element(3, &[0, bits])
}

pub(crate) fn constraints(authority: bool, most: Option<u8>) -> Vec<u8> {
    let authority = if authority { element(1, &[0xff]) } else { Vec::new() };
    let most = most.map(|most| element(2, &[most])).unwrap_or_default();
    element(0x30, &[authority, most].concat())
}

/// `keyid`, or issuer and serial number.
pub(crate) fn key_identifier(key: usize) -> Vec<u8> {
    element(0x30, &element(0x80, &identifier_of(key)))
}

pub(crate) fn issuer_and_serial(issuer: &[u8], serial: Option<u8>) -> Vec<u8> {
    let names = element(0xa1, &element(0xa4, issuer));
    let serial = serial.map(|serial| element(0x82, &[serial])).unwrap_or_default();
    element(0x30, &[names, serial].concat())
}

pub(crate) fn purposes(numbers: &[u8]) -> Vec<u8> {
    let purpose = |number: &u8| element(6, &[0x2b, 6, 1, 5, 5, 7, 3, *number]);
    element(0x30, &numbers.iter().flat_map(purpose).collect::<Vec<u8>>())
}

/// Permitted and excluded subtrees: tags and contents of their bases.
pub(crate) fn name_constraints(permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])]) -> Vec<u8> {
    let list = |tag: u8, bases: &[(u8, &[u8])]| {
        let subtree = |(tag, base): &(u8, &[u8])| element(0x30, &element(*tag, base));
        if bases.is_empty() {
            Vec::new()
        } else {
            element(tag, &bases.iter().flat_map(subtree).collect::<Vec<u8>>())
        }
    };
    element(0x30, &[list(0xa0, permitted), list(0xa1, excluded)].concat())
}

impl Recipe {
    pub(crate) fn authority(subject: &str, key: usize, issuer: &str, signer: usize) -> Self {
        let mut recipe = Self {
            subject: name(subject, 12),
            issuer: name(issuer, 12),
            key,
            signer,
            serial: u8::try_from(key).unwrap() + 1,
            validity: (-HOUR, 24 * HOUR),
            version_1: false,
            other_inner_algorithm: false,
            extensions: Vec::new(),
            public_key: None,
            algorithm: None,
            signing: Signing::Own,
        };
        recipe.set(19, true, constraints(true, None));
        recipe.set(15, true, flags(CERT_SIGN));
        recipe.set(14, false, element(4, &identifier_of(key)));
        recipe.set(35, false, key_identifier(signer));
        recipe
    }

    pub(crate) fn leaf(issuer: &str, signer: usize) -> Self {
        let mut recipe = Self::authority("db.example.org", LEAF_KEY, issuer, signer);
        recipe.set(19, true, constraints(false, None));
        recipe.set(15, true, flags(SIGNATURE));
        recipe.set(37, false, purposes(&[1, 2]));
        let names = [element(0x86, ID.as_bytes()), element(0x82, b"db.example.org")].concat();
        recipe.set(17, false, element(0x30, &names));
        recipe.validity.1 = HOUR;
        recipe
    }

    /// The same with another extension of `id-ce`.
    pub(crate) fn with(mut self, number: u8, content: Vec<u8>) -> Self {
        self.set(number, number != 35, content);
        self
    }

    pub(crate) fn without(mut self, number: u8) -> Self {
        self.unset(number);
        self
    }

    /// The same with a critical extension that nobody knows.
    pub(crate) fn with_unknown_critical(mut self) -> Self {
        self.extensions.push((vec![0x2a, 3, 4], true, element(5, &[])));
        self
    }

    /// The same, and no longer valid.
    pub(crate) fn expired(mut self) -> Self {
        self.validity = (-48 * HOUR, -HOUR);
        self
    }

    pub(crate) fn with_key(mut self, key: usize) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn of_version_1(mut self) -> Self {
        self.version_1 = true;
        self
    }

    /// An extension of `id-ce`, instead of what there was.
    pub(crate) fn set(&mut self, number: u8, critical: bool, content: Vec<u8>) {
        self.unset(number);
        self.extensions.push((vec![0x55, 0x1d, number], critical, content));
    }

    pub(crate) fn unset(&mut self, number: u8) {
        self.extensions.retain(|(found, ..)| *found != [0x55, 0x1d, number]);
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let (key, signer) = (&KEYS[self.key], &KEYS[self.signer]);
        let number = if self.signer == KEYS.len() - 1 { 3 } else { 2 };
        let algorithm = |number| {
            let ecdsa =
                || element(0x30, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, number]));
            self.algorithm.clone().unwrap_or_else(ecdsa)
        };
        let inner = if self.other_inner_algorithm { 4 } else { number };
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(identifier, critical, content)| {
                let critical = if *critical { element(1, &[0xff]) } else { Vec::new() };
                element(0x30, &[element(6, identifier), critical, element(4, content)].concat())
            })
            .collect();
        let (version, extensions) = if self.version_1 {
            (Vec::new(), Vec::new())
        } else {
            (element(0xa0, &element(2, &[2])), element(0xa3, &element(0x30, &extensions)))
        };
        let fields = [
            version,
            element(2, &[self.serial]),
            algorithm(inner),
            self.issuer.clone(),
            element(0x30, &[time(self.validity.0), time(self.validity.1)].concat()),
            self.subject.clone(),
            self.public_key.clone().unwrap_or_else(|| key.subject_public_key_info()),
            extensions,
        ];
        let content = element(0x30, &fields.concat());
        let signature = self.signing.bits(signer, &content);
        element(0x30, &[content, algorithm(number), element(3, &signature)].concat())
    }
}

impl Signing {
    /// The content of the bit string.
    fn bits(&self, signer: &KeyPair, content: &[u8]) -> Vec<u8> {
        let own = || signer.sign(content).unwrap();
        match self {
            Self::Own => [&[0], &own()[..]].concat(),
            Self::UnusedBit => {
                let mut signatures = std::iter::repeat_with(own);
                let even = signatures.find(|made| made.last().unwrap() & 1 == 0).unwrap();
                [&[1], &even[..]].concat()
            }
            Self::Forged(bytes) => [&[0], &bytes[..]].concat(),
            Self::Program { key, digest } => {
                let directory = Directory::new();
                let file = directory.write("key.pem", key, 0o600);
                let made = openssl(&["dgst", digest, "-sign", file.to_str().unwrap()], content);
                [&[0], &made[..]].concat()
            }
        }
    }
}

fn time(seconds: i64) -> Vec<u8> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time: SystemTime =
        if seconds < 0 { timing::now() - distance } else { timing::now() + distance };
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    element(23, format!("{}Z", &digits[2..]).as_bytes())
}

impl Hierarchy {
    pub(crate) fn of(leaf: &Recipe, sent: &[Recipe], trusted: &[Recipe]) -> Self {
        let ders = |recipes: &[Recipe]| recipes.iter().map(Recipe::der).collect();
        Self { leaf: leaf.der(), sent: ders(sent), trusted: ders(trusted) }
    }

    /// As an agent has it.
    pub(crate) fn offer(&self) -> Offer {
        Offer {
            spiffe_id: None,
            hint: String::new(),
            chain: [self.leaf.clone(), self.sent.concat()].concat(),
            key: Zeroizing::new(leaf_key()),
            bundle: self.trusted.concat(),
        }
    }
}
