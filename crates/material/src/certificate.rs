//! A parsed X.509 certificate: its DER, and the few facts that the rest of the program uses.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use x509_parser::der_parser::asn1_rs::Header;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::encoding::{self, Unloadable};
use super::name;

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `der`.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&colon_hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A certificate's serial number, big-endian.
#[derive(Clone, PartialEq, Eq)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// The first three bytes, which tell two serials apart in a log line.
    #[must_use]
    pub fn short(&self) -> String {
        colon_hex(self.0.get(..3).unwrap_or(&self.0))
    }
}

/// The whole serial number in lower-case hexadecimal, with colons, as it is in the DER. A first byte `00` is kept, which
/// `openssl x509 -serial` does not print.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&colon_hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn colon_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if !text.is_empty() {
            text.push(':');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Why bytes are not the requested one DER certificate, or sequence of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCertificate {
    /// Not DER, or not a certificate.
    #[error("certificate {position} is not an X.509 certificate in DER")]
    NotDer {
        /// Its position in the sequence, from 1.
        position: usize,
    },
    /// OpenSSL does not load it, and PostgreSQL could not start with it.
    #[error("OpenSSL would not load certificate {position}, because of its {cause}")]
    Unloadable {
        /// Its position in the sequence, from 1.
        position: usize,
        /// The field of the certificate, and what is wrong with it.
        cause: Unloadable,
    },
    /// More certificates than the limit.
    #[error("more than {most} certificates")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// More than 8192 alternative names in all certificates together.
    #[error("its certificates have more than {MOST_NAMES} alternative names")]
    TooManyNames,
    /// One certificate is larger than 64 KiB.
    #[error("certificate {position} has {size} bytes, more than the {LARGEST} that are allowed")]
    TooLarge {
        /// Its position in the sequence, from 1.
        position: usize,
        /// Its size in bytes.
        size: usize,
    },
}

impl MalformedCertificate {
    /// Sets the position in the sequence for the error of one certificate.
    pub(super) fn at(self, position: usize) -> Self {
        match self {
            Self::TooLarge { size, .. } => Self::TooLarge { position, size },
            Self::Unloadable { cause, .. } => Self::Unloadable { position, cause },
            _ => Self::NotDer { position },
        }
    }
}

/// Largest certificate that is parsed, in bytes of DER.
const LARGEST: usize = 64 * 1024;

/// Most alternative names (URI and DNS) in a sequence of certificates. A name may have three bytes of DER and takes fifty in
/// memory; an authority has one name.
const MOST_NAMES: usize = 8192;

/// One X.509 certificate. It takes little more than twice its DER in memory.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    fingerprint: Fingerprint,
    serial: Serial,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    uris: Vec<String>,
    dns_names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// Parses concatenated DER certificates, as the Workload API sends them: at most `most`, with no bytes left over.
pub fn certificates(der: &[u8], most: usize) -> Result<Vec<Certificate>, MalformedCertificate> {
    let mut parsed = Vec::new();
    let mut rest = der;
    let mut names = 0;
    while !rest.is_empty() {
        let position = parsed.len() + 1;
        if parsed.len() == most {
            return Err(MalformedCertificate::TooMany { most });
        }
        // Before parsing: the parts take many times as much memory as they take in DER.
        if let Some(size) = announced(rest).filter(|size| (LARGEST + 1..=rest.len()).contains(size))
        {
            return Err(MalformedCertificate::TooLarge { position, size });
        }
        let (after, certificate) = X509Certificate::from_der(rest)
            .map_err(|_| MalformedCertificate::NotDer { position })?;
        let size = rest.len() - after.len();
        encoding::check(&rest[..size])
            .map_err(|cause| MalformedCertificate::Unloadable { position, cause })?;
        let certificate = Certificate::new(&rest[..size], &certificate);
        names += certificate.uris.len() + certificate.dns_names.len();
        if names > MOST_NAMES {
            return Err(MalformedCertificate::TooManyNames);
        }
        parsed.push(certificate);
        rest = after;
    }
    Ok(parsed)
}

/// The size of the first element, according to its header.
fn announced(der: &[u8]) -> Option<usize> {
    let (content, header) = Header::from_der(der).ok()?;
    (der.len() - content.len()).checked_add(header.length().definite().ok()?)
}

impl Certificate {
    /// Parses exactly one DER certificate.
    pub fn parse(der: &[u8]) -> Result<Self, MalformedCertificate> {
        match certificates(der, 1)?.pop() {
            Some(certificate) => Ok(certificate),
            None => Err(MalformedCertificate::NotDer { position: 1 }),
        }
    }

    /// The first of concatenated DER certificates, whatever follows it; `None` if there is none that can be parsed.
    #[must_use]
    pub fn first(der: &[u8]) -> Option<Self> {
        let size = announced(der).filter(|size| *size <= LARGEST)?;
        Self::parse(der.get(..size)?).ok()
    }

    fn new(der: &[u8], parsed: &X509Certificate<'_>) -> Self {
        let mut uris = Vec::new();
        let mut dns_names = Vec::new();
        if let Ok(Some(names)) = parsed.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                    GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                    _ => {}
                }
            }
        }
        Self {
            fingerprint: Fingerprint::of(der),
            serial: Serial(parsed.raw_serial().to_vec()),
            subject: parsed.subject().as_raw().to_vec(),
            public_key: parsed.public_key().raw.to_vec(),
            uris,
            dns_names,
            not_before: system_time(parsed.validity().not_before.timestamp()),
            not_after: system_time(parsed.validity().not_after.timestamp()),
            der: der.to_vec(),
        }
    }

    /// The certificate's DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The subject's DER: a `Name`, as a server lists it in its CertificateRequest.
    #[must_use]
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The subject for people, `C=US, O=SPIRE, CN=…`.
    #[must_use]
    pub fn subject_text(&self) -> String {
        name::for_people(&self.subject)
    }

    /// The subject in the form of `clientname=DN` and `pg_ident.conf`, `CN=…,O=SPIRE,C=US`.
    #[must_use]
    pub fn distinguished_name(&self) -> String {
        name::distinguished_name(&self.subject)
    }

    /// The subject's CN, which `cert` authentication uses as the user's name.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        name::common_name(&self.subject)
    }

    /// The SubjectPublicKeyInfo's DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The URI subject alternative names, unchanged.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The DNS subject alternative names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// Start of the validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// End of the validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

/// Seconds since 1970, also negative ones (certificates may begin before).
fn system_time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if seconds < 0 {
        epoch.checked_sub(distance).unwrap_or(epoch)
    } else {
        epoch.checked_add(distance).unwrap_or(epoch)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial {})", self.subject_text(), self.serial.short())
    }
}
