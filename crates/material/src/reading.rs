//! What the bytes of a file hold: certificates and keys in PEM or DER, or a format that must be converted.
//!
//! A private key is reduced to its public key immediately.

use std::fmt;

use rustls_pki_types::PrivateKeyDer;
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Sequence, Tag};

use super::blocks::{self, Found, Header, escaped};
use super::pkcs12::{self, Password};
use super::{Certificate, Details, LARGEST_BUNDLE, MalformedCertificate, certificates, key, pem};

/// One thing that a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A certificate.
    Certificate(Box<Certificate>),
    /// A PKCS#12, whose certificates and keys follow.
    Store(pkcs12::Facts),
    /// A private key.
    Key {
        /// `PKCS#8`, `SEC1`, `PKCS#1` or `PKCS#12`.
        encoding: &'static str,
        /// The SubjectPublicKeyInfo that belongs to it.
        public_key: Vec<u8>,
    },
}

/// Why something cannot be read. The text follows "FILE: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// Neither PEM nor DER.
    #[error("it holds neither PEM nor DER")]
    Neither,
    /// A block of PEM has no end, or its base64 is broken.
    #[error("PEM block {position} ({label}) is cut off or broken; its END line must stand alone")]
    Broken {
        /// Its position, from 1.
        position: usize,
        /// The label after BEGIN, escaped.
        label: String,
    },
    /// OpenSSL does not see the block.
    #[error(
        "the BEGIN line of PEM block {position} ({label}) is not alone on its line, or does not begin it: OpenSSL skips \
         the block"
    )]
    PassedOver {
        /// Its position, from 1.
        position: usize,
        /// The label after BEGIN, escaped.
        label: String,
        /// Whether a `#` stands before it.
        commented: bool,
    },
    /// A malformed certificate.
    #[error(transparent)]
    Certificate(#[from] MalformedCertificate),
    /// A kind of key that pgsvid does not support.
    #[error(
        "its private key is broken, or of a type that is not supported (supported are EC P-256 and P-384, RSA of \
         2048 to 4096 bits, Ed25519)"
    )]
    Key,
    /// A known format that pgsvid does not read.
    #[error("{0}")]
    Foreign(Foreign),
    /// A PKCS#12 that cannot be read.
    #[error("{0}")]
    Store(pkcs12::Damage),
    /// A block with another label.
    #[error("PEM block {position} ({label}) is neither a certificate nor a private key")]
    Other {
        /// Its position, from 1.
        position: usize,
        /// The label after BEGIN, escaped.
        label: String,
    },
}

/// Known formats that pgsvid does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A private key with a passphrase, in PEM.
    EncryptedKey,
    /// A private key with a passphrase, in DER.
    EncryptedKeyDer,
    /// A private key of OpenSSH's own format.
    OpenSsh,
    /// PKCS#12, also called PFX.
    Pkcs12,
    /// PKCS#7 in PEM.
    Pkcs7,
    /// PKCS#7 in DER.
    Pkcs7Der,
    /// A Java key store.
    JavaKeyStore,
    /// OpenSSL's certificates with trust settings.
    TrustedCertificate,
    /// PEM whose line ends are written as `\n`, as in JSON or an environment file.
    Escaped,
    /// DER in base64, without the lines of PEM around it.
    Base64,
    /// PEM in base64, as in a Secret of Kubernetes.
    Base64Pem,
    /// A request for a certificate.
    Request,
    /// A list of revoked certificates.
    RevocationList,
    /// A public key.
    PublicKey,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EncryptedKey | Self::EncryptedKeyDer => {
                "keys with a passphrase are not supported (PostgreSQL cannot reload them either)"
            }
            Self::OpenSsh => "keys in OpenSSH's own format are not supported",
            Self::Pkcs12 => "PKCS#12 is not supported",
            Self::Pkcs7 | Self::Pkcs7Der => "PKCS#7 is not supported",
            Self::JavaKeyStore => "Java key stores are not supported",
            Self::TrustedCertificate => {
                "PostgreSQL uses a certificate with OpenSSL's trust settings only at the start of a chain: OpenSSL does not send it \
                 later in a chain, and loads no authority from a file that has only such certificates"
            }
            Self::Escaped => "its line ends are written as \\n, so OpenSSL reads it as one line",
            Self::Base64 => "it is DER in base64, without the lines BEGIN and END",
            Self::Base64Pem => "it is PEM that was encoded in base64 once more",
            Self::Request => "it is a request for a certificate; an authority has to sign it first",
            Self::RevocationList => "it is a list of revoked certificates",
            Self::PublicKey => "it is a public key without a certificate",
        })
    }
}

impl Foreign {
    /// The command that converts `file`, if there is one. `file` is already quoted for a shell.
    #[must_use]
    pub fn remedy(self, file: &str) -> Option<String> {
        Some(match self {
            Self::EncryptedKey => format!("openssl pkey -in {file} -out key.pem"),
            Self::EncryptedKeyDer => format!("openssl pkcs8 -inform DER -in {file} -out key.pem"),
            Self::OpenSsh => {
                format!("cp {file} key.pem && ssh-keygen -p -N '' -m PKCS8 -f key.pem")
            }
            Self::Pkcs12 => format!("openssl pkcs12 -in {file} -nodes -out all.pem"),
            Self::Pkcs7 => format!("openssl pkcs7 -print_certs -in {file} -out certificates.pem"),
            Self::Pkcs7Der => {
                format!("openssl pkcs7 -print_certs -inform DER -in {file} -out certificates.pem")
            }
            Self::JavaKeyStore => format!(
                "keytool -importkeystore -srckeystore {file} -destkeystore all.p12 -deststoretype PKCS12 && \
                 openssl pkcs12 -in all.p12 -nodes -out all.pem"
            ),
            Self::TrustedCertificate => format!("openssl x509 -in {file} -out certificate.pem"),
            Self::Escaped => {
                format!("sed 's/\"//g; s/\\\\n/\\n/g' {file} > decoded.pem")
            }
            Self::Base64 => format!("base64 -d {file} > decoded.der"),
            Self::Base64Pem => format!("base64 -d {file} > decoded.pem"),
            Self::Request | Self::RevocationList | Self::PublicKey => return None,
        })
    }
}

/// As [`read`], but also reads a PKCS#12: its facts first, then its certificates, then its keys. What is encrypted in it is left out
/// if no password is given.
#[must_use]
pub fn read_stores(bytes: &[u8], password: Option<&Password>) -> Vec<Result<Item, Unreadable>> {
    let items = read(bytes);
    if items != [Err(Unreadable::Foreign(Foreign::Pkcs12))] {
        return items;
    }
    let store = match pkcs12::open(bytes, password) {
        Ok(store) => store,
        Err(damage) => return vec![Err(Unreadable::Store(damage))],
    };
    let certificates = store.certificates.iter().enumerate().map(|(at, der)| {
        let parsed = Certificate::parse(der).map_err(|error| error.at(at + 1))?;
        Ok(Item::Certificate(Box::new(parsed)))
    });
    let keys = store.keys.iter().map(|der| {
        let key = PrivateKeyDer::Pkcs8(der.as_slice().into());
        let public_key = key::public_key(&key).map_err(|_| Unreadable::Key)?.as_ref().to_vec();
        Ok(Item::Key { encoding: "PKCS#12", public_key })
    });
    std::iter::once(Ok(Item::Store(store.facts))).chain(certificates).chain(keys).collect()
}

/// Everything in a file, in order. Text around PEM blocks is skipped, as OpenSSL does.
///
/// Never empty. At most [`LARGEST_BUNDLE`] blocks are read.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<Result<Item, Unreadable>> {
    if bytes.is_empty() {
        return vec![Err(Unreadable::Empty)];
    }
    if let Some(wrapped) = wrapped(bytes) {
        return vec![Err(Unreadable::Foreign(wrapped))];
    }
    let mut blocks = blocks::blocks(bytes).peekable();
    if blocks.peek().is_none() {
        return read_der(bytes);
    }
    let mut items = Vec::new();
    for (at, block) in blocks.enumerate() {
        if at == LARGEST_BUNDLE {
            let most = LARGEST_BUNDLE;
            items.push(Err(MalformedCertificate::TooMany { most }.into()));
            break;
        }
        items.extend(read_block(at + 1, &block).transpose());
    }
    if items.is_empty() { vec![Err(Unreadable::Neither)] } else { items }
}

/// Recognises PEM or DER within another encoding.
fn wrapped(bytes: &[u8]) -> Option<Foreign> {
    const ESCAPED: &[u8] = b"-----\\n";
    const BEGIN: &[u8] = b"-----BEGIN ";
    if bytes.windows(ESCAPED.len()).any(|window| window == ESCAPED) {
        return Some(Foreign::Escaped);
    }
    // A short word can be base64 by chance.
    let decoded = blocks::decode(bytes).filter(|decoded| decoded.len() > 32)?;
    match decoded.as_slice() {
        pem if pem.starts_with(BEGIN) => Some(Foreign::Base64Pem),
        [0x30, ..] => Some(Foreign::Base64),
        _ => None,
    }
}

/// `None` for a block that holds nothing of interest.
fn read_block(position: usize, found: &Found) -> Result<Option<Item>, Unreadable> {
    let block = match found {
        Found::Block(block) => block,
        Found::Broken(label) => {
            return Err(Unreadable::Broken { position, label: escaped(label) });
        }
        Found::PassedOver { label, commented } => {
            let (label, commented) = (escaped(label), *commented);
            return Err(Unreadable::PassedOver { position, label, commented });
        }
    };
    let foreign = |kind| Err(Unreadable::Foreign(kind));
    match block.label.as_slice() {
        b"CERTIFICATE" | b"X509 CERTIFICATE" => {
            if block.header != Header::None {
                return Err(Unreadable::Broken { position, label: escaped(&block.label) });
            }
            let parsed = Certificate::parse(pem::certificate_of(block));
            let certificate = parsed.map_err(|error| error.at(position))?;
            Ok(Some(Item::Certificate(Box::new(certificate))))
        }
        b"ENCRYPTED PRIVATE KEY" => foreign(Foreign::EncryptedKey),
        label if pem::KEYS.contains(&label) => match (block.header, pem::key_of(block)) {
            (_, Some(key)) => read_key(&key).map(Some),
            (Header::Encrypted, None) => foreign(Foreign::EncryptedKey),
            _ => Err(Unreadable::Broken { position, label: escaped(label) }),
        },
        b"DSA PRIVATE KEY" => Err(Unreadable::Key),
        b"OPENSSH PRIVATE KEY" => foreign(Foreign::OpenSsh),
        b"PKCS7" | b"CMS" => foreign(Foreign::Pkcs7),
        // OpenSSL loads it as a leaf (`SSL_CTX_use_certificate_chain_file`), but skips it later in the chain, and as the only authority.
        b"TRUSTED CERTIFICATE" if position == 1 && block.header == Header::None => {
            match Certificate::parse(pem::certificate_of(block)) {
                Ok(found) if !Details::of(&found).is_authority => {
                    Ok(Some(Item::Certificate(Box::new(found))))
                }
                _ => foreign(Foreign::TrustedCertificate),
            }
        }
        b"TRUSTED CERTIFICATE" => foreign(Foreign::TrustedCertificate),
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => foreign(Foreign::Request),
        b"X509 CRL" => foreign(Foreign::RevocationList),
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" => foreign(Foreign::PublicKey),
        // `openssl ecparam -genkey` writes them before the key, which names its curve itself.
        b"EC PARAMETERS" | b"DH PARAMETERS" => Ok(None),
        label => Err(Unreadable::Other { position, label: escaped(label) }),
    }
}

fn read_der(bytes: &[u8]) -> Vec<Result<Item, Unreadable>> {
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return vec![Err(Unreadable::Foreign(Foreign::JavaKeyStore))];
    }
    // Every supported structure is a SEQUENCE.
    let Ok((_, outermost)) = Sequence::from_der(bytes) else {
        let kind = if bytes.first() == Some(&0x30) {
            MalformedCertificate::NotDer { position: 1 }.into()
        } else {
            Unreadable::Neither
        };
        return vec![Err(kind)];
    };
    if let Some(foreign) = foreign_der(&outermost.content) {
        return vec![Err(Unreadable::Foreign(foreign))];
    }
    if let Ok(key) = PrivateKeyDer::try_from(bytes) {
        return vec![read_key(&key)];
    }
    match certificates(bytes, LARGEST_BUNDLE) {
        Ok(found) => {
            found.into_iter().map(|found| Ok(Item::Certificate(Box::new(found)))).collect()
        }
        Err(error) => vec![Err(error.into())],
    }
}

/// Formats that the first element identifies: PKCS#12 (RFC 7292: version 3, then a `ContentInfo`), PKCS#7 (RFC 2315: an
/// object identifier), encrypted PKCS#8 (RFC 5958: a password-based algorithm).
fn foreign_der(content: &[u8]) -> Option<Foreign> {
    let (rest, first) = Any::from_der(content).ok()?;
    match first.tag() {
        Tag::Oid => is_pkcs7(&first).then_some(Foreign::Pkcs7Der),
        Tag::Integer if first.data == [3] => {
            let (_, second) = Any::from_der(rest).ok()?;
            let (_, kind) = Any::from_der(second.data).ok()?;
            (second.tag() == Tag::Sequence && is_pkcs7(&kind)).then_some(Foreign::Pkcs12)
        }
        Tag::Sequence => {
            let (_, algorithm) = Any::from_der(first.data).ok()?;
            let oid = algorithm.as_oid().ok()?.to_id_string();
            let by_password =
                oid.starts_with("1.2.840.113549.1.5.") || oid.starts_with("1.2.840.113549.1.12.1.");
            by_password.then_some(Foreign::EncryptedKeyDer)
        }
        _ => None,
    }
}

fn is_pkcs7(kind: &Any<'_>) -> bool {
    kind.as_oid().is_ok_and(|oid| oid.to_id_string().starts_with("1.2.840.113549.1.7."))
}

fn read_key(key: &PrivateKeyDer<'_>) -> Result<Item, Unreadable> {
    let encoding = match key {
        PrivateKeyDer::Pkcs1(_) => "PKCS#1",
        PrivateKeyDer::Sec1(_) => "SEC1",
        _ => "PKCS#8",
    };
    let public_key = key::public_key(key).map_err(|_| Unreadable::Key)?.as_ref().to_vec();
    Ok(Item::Key { encoding, public_key })
}
