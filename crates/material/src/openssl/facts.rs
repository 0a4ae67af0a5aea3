//! The facts that OpenSSL caches about a certificate to validate paths (`v3_purp.c`, `ossl_x509v3_cache_extensions`).

use std::cell::OnceCell;
use std::time::SystemTime;

use super::algorithms::{Key, Method};
use super::effort::Effort;
use super::fault::Fault;
use super::names::{Names, Subtrees};
use crate::certificate::{Certificate, Fingerprint};
use crate::encoding::{self, CertificateParts, DerError, Reader, tag};
use crate::name::Comparable;

/// Bits of key usage that are checked, as OpenSSL numbers them.
pub(super) mod usage {
    pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
    pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
    pub(crate) const KEY_AGREEMENT: u8 = 0x08;
    pub(crate) const KEY_CERT_SIGN: u8 = 0x04;
}

/// Bits of Netscape's certificate type.
pub(super) mod netscape {
    pub(crate) const CLIENT: u8 = 0x80;
    pub(crate) const SERVER: u8 = 0x40;
    pub(crate) const TLS_AUTHORITY: u8 = 0x04;
    pub(crate) const ANY_AUTHORITY: u8 = 0x07;
}

/// One certificate, as OpenSSL sees it.
pub(crate) struct Facts<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(super) parts: CertificateParts<'a>,
    /// The names in the form that OpenSSL compares.
    pub(crate) subject: Comparable,
    pub(crate) issuer: Comparable,
    pub(super) method: Option<Method>,
    pub(super) key: Key,
    /// Distinguishes keys in one step.
    pub(crate) key_digest: Fingerprint,
    /// The subject key identifier.
    pub(crate) identifier: Option<&'a [u8]>,
    pub(crate) authority: AuthorityIdentifier<'a>,
    pub(super) constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<u8>,
    pub(super) extended: Option<ExtendedUsage>,
    pub(super) netscape: Option<u8>,
    /// The contents of nameConstraints and of subjectAltName.
    name_constraints: Option<&'a [u8]>,
    alternative_names: Option<&'a [u8]>,
    /// Their parsed contents, read on first use.
    subtrees: OnceCell<Option<Subtrees<'a>>>,
    names: OnceCell<Option<Names<'a>>>,
    /// Whether it has a critical extension that OpenSSL does not know.
    pub(super) unknown_critical: bool,
    /// Whether it lists addresses or autonomous systems (RFC 3779).
    pub(super) resources: bool,
    /// Whether it names itself as its issuer, and neither its authority key identifier nor its signature algorithm
    /// contradicts that. Where it is trusted, a path ends with it. OpenSSL does not verify its signature.
    pub(crate) self_signed: bool,
}

/// What it says about the key of its issuer.
#[derive(Default)]
pub(crate) struct AuthorityIdentifier<'a> {
    pub(crate) key: Option<&'a [u8]>,
    /// The first directory name.
    issuer: Option<Comparable>,
    serial: Option<&'a [u8]>,
}

#[derive(Clone, Copy)]
pub(super) struct BasicConstraints {
    pub(super) authority: bool,
    pub(super) path_length: Option<i64>,
}

#[derive(Default, Clone, Copy)]
pub(super) struct ExtendedUsage {
    pub(super) server: bool,
    pub(super) client: bool,
}

impl<'a> Facts<'a> {
    /// Reads a certificate. Fails for one that OpenSSL would not have loaded.
    pub(crate) fn of(certificate: &'a Certificate) -> Result<Self, DerError> {
        let parts = encoding::parts(certificate.der())?;
        let subject = Comparable::of(certificate.subject());
        let issuer = if parts.issuer == certificate.subject() {
            subject
        } else {
            Comparable::of(parts.issuer)
        };
        let mut facts = Self {
            certificate,
            subject,
            issuer,
            method: Method::read(parts.inner_algorithm),
            key: Key::read(certificate.public_key()),
            key_digest: Fingerprint::of(certificate.public_key()),
            identifier: None,
            authority: AuthorityIdentifier::default(),
            constraints: None,
            key_usage: None,
            extended: None,
            netscape: None,
            name_constraints: None,
            alternative_names: None,
            subtrees: OnceCell::new(),
            names: OnceCell::new(),
            unknown_critical: false,
            resources: false,
            self_signed: false,
            parts,
        };
        for at in 0..facts.parts.extensions.len() {
            let extension = &facts.parts.extensions[at];
            let (identifier, content) = (extension.identifier, extension.content);
            facts.unknown_critical |= extension.critical && !is_known(identifier);
            facts.read(identifier, content)?;
        }
        facts.self_signed = facts.is_self_issued() && facts.is_likely_issued_by(&facts);
        Ok(facts)
    }

    /// What the outer signature says about itself (`X509_get_signature_info`). [`Self::method`] is the one within the signed
    /// part, which is used to find an issuer.
    pub(super) fn outer_method(&self) -> Option<Method> {
        Method::read(self.parts.algorithm)
    }

    fn read(&mut self, identifier: &[u8], content: &'a [u8]) -> Result<(), DerError> {
        let mut reader = Reader::new(content);
        match identifier {
            [0x55, 0x1d, 14] => self.identifier = Some(reader.take(tag::OCTET_STRING)?),
            [0x55, 0x1d, 15] => self.key_usage = Some(first_byte(&mut reader)?),
            [0x55, 0x1d, 17] => self.alternative_names = Some(content),
            [0x55, 0x1d, 19] => self.constraints = Some(BasicConstraints::read(&mut reader)?),
            [0x55, 0x1d, 30] => self.name_constraints = Some(content),
            [0x55, 0x1d, 35] => self.authority = AuthorityIdentifier::read(&mut reader)?,
            [0x55, 0x1d, 37] => self.extended = Some(ExtendedUsage::read(&mut reader)?),
            NETSCAPE => self.netscape = Some(first_byte(&mut reader)?),
            ADDRESSES | SYSTEMS => self.resources = true,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn has_name_constraints(&self) -> bool {
        self.name_constraints.is_some()
    }

    /// The subtrees of its name constraints, read once. `Err` if OpenSSL would not compare them, or if the budget is spent.
    pub(super) fn subtrees(&self, effort: &Effort) -> Result<Option<&Subtrees<'a>>, Fault> {
        let Some(content) = self.name_constraints else { return Ok(None) };
        if self.subtrees.get().is_none() && !effort.spend(Subtrees::cost(content)) {
            return Err(Fault::TooManyNames);
        }
        let subtrees = self.subtrees.get_or_init(|| Subtrees::read(content).ok());
        subtrees.as_ref().map(Some).ok_or(Fault::UnsupportedName)
    }

    /// The names that constraints are compared with, read once.
    pub(super) fn names(&self, effort: &Effort) -> Result<&Names<'a>, Fault> {
        let (subject, alternative) = (self.certificate.subject(), self.alternative_names);
        if self.names.get().is_none() && !effort.spend(Names::cost(subject, alternative)) {
            return Err(Fault::TooManyNames);
        }
        let names = self.names.get_or_init(|| Names::read(subject, alternative).ok());
        names.as_ref().ok_or(Fault::UnsupportedName)
    }

    /// Whether it names itself as its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    pub(crate) fn not_after(&self) -> SystemTime {
        self.certificate.not_after()
    }

    /// Whether OpenSSL takes `other` as the issuer of this certificate (`ossl_x509_likely_issued`): by names, the authority
    /// key identifier, and the kinds of key and signature. It verifies signatures once the path is complete.
    pub(crate) fn is_likely_issued_by(&self, other: &Self) -> bool {
        self.issuer == other.subject
            && self.authority.fits(other)
            && self.method.is_some_and(|method| other.key.fits(method))
    }
}

impl<'a> AuthorityIdentifier<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DerError> {
        const DIRECTORY: u8 = tag::constructed(4);
        let mut parts = reader.enter(tag::SEQUENCE)?;
        let key = parts.optional(tag::primitive(0))?;
        let mut issuer = None;
        if let Some(mut names) = parts.optional_enter(tag::constructed(1))? {
            while !names.is_empty() && issuer.is_none() {
                let (tag, content) = names.element()?;
                issuer = (tag == DIRECTORY).then(|| Comparable::of(content));
            }
        }
        let serial = parts.optional(tag::primitive(2))?;
        Ok(Self { key, issuer, serial })
    }

    /// `X509_check_akid`.
    fn fits(&self, issuer: &Facts<'_>) -> bool {
        let differ = |named: Option<&[u8]>, own: Option<&[u8]>| matches!((named, own), (Some(named), Some(own)) if named != own);
        let other_issuer = self.issuer.is_some_and(|named| named != issuer.issuer);
        !differ(self.key, issuer.identifier)
            && !differ(self.serial, Some(issuer.parts.serial))
            && !other_issuer
    }
}

impl BasicConstraints {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        let mut parts = reader.enter(tag::SEQUENCE)?;
        let authority = parts.optional_boolean()?;
        let length = parts.optional(tag::INTEGER)?;
        // A number that does not fit counts as absent (`ASN1_INTEGER_get`).
        let path_length = length
            .filter(|bytes| bytes.len() <= 8)
            .map(|bytes| bytes.iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte)));
        Ok(Self { authority, path_length })
    }
}

impl ExtendedUsage {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        // 1.3.6.1.5.5.7.3, then the old server-gated cryptography, which counts as for servers.
        const PURPOSES: [u8; 7] = [0x2b, 6, 1, 5, 5, 7, 3];
        const MICROSOFT: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3];
        const NETSCAPE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1];
        let mut found = Self::default();
        reader.enter(tag::SEQUENCE)?.for_each(|purposes| {
            match purposes.object_identifier()? {
                MICROSOFT | NETSCAPE => found.server = true,
                [start @ .., 1] if *start == PURPOSES => found.server = true,
                [start @ .., 2] if *start == PURPOSES => found.client = true,
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }
}

const NETSCAPE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1];
const ADDRESSES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 7];
const SYSTEMS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 8];

/// Whether OpenSSL knows the extension, so that it may be critical (`X509_supported_extension`). It does not know key
/// identifiers.
fn is_known(identifier: &[u8]) -> bool {
    const NO_CHECK: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 5];
    const PROXY: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
    match identifier {
        [0x55, 0x1d, number] => matches!(number, 15 | 17 | 19 | 30..=33 | 36 | 37 | 54),
        _ => [NETSCAPE, ADDRESSES, SYSTEMS, NO_CHECK, PROXY].contains(&identifier),
    }
}

/// The first eight bits of a bit string, without unused ones.
fn first_byte(reader: &mut Reader<'_>) -> Result<u8, DerError> {
    Ok(match reader.bit_string()? {
        (_, []) => 0,
        (unused, [only]) => only & (0xff << unused),
        (_, [first, ..]) => *first,
    })
}

impl PartialEq for Facts<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Certificate {
    /// Whether OpenSSL treats it as a root: it names itself as its issuer by its name, its key identifiers and the kind of
    /// its signature. OpenSSL does not verify that signature.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        Facts::of(self).is_ok_and(|facts| facts.self_signed)
    }
}
