//! Facts about a certificate for people: key, usages, issuer. Read from the DER on demand, and not stored.

use std::net::IpAddr;

use x509_parser::der_parser::oid;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Certificate;
use super::name;

/// The facts about a certificate that only people need. Texts come from the certificate; only names are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The issuer for people, `C=US, O=SPIFFE, serialNumber=…`.
    pub issuer: String,
    /// `EC P-256`, `RSA 2048`, `Ed25519`.
    pub key: String,
    /// `ECDSA with SHA-256`, or an object identifier if it has no name here.
    pub signature: String,
    /// Whether basicConstraints let it sign certificates.
    pub is_authority: bool,
    /// Names of RFC 5280 section 4.2.1.3, such as `digitalSignature`.
    pub key_usages: Vec<&'static str>,
    /// Names of RFC 5280 section 4.2.1.12, such as `serverAuth`, or an object identifier if it has none.
    pub extended_key_usages: Vec<String>,
    /// IP subject alternative names.
    pub ip_addresses: Vec<IpAddr>,
    /// The x500UniqueIdentifier in the subject.
    pub unique_identifier: Option<String>,
}

impl Details {
    /// Reads them. What cannot be read is left out: the checks of an SVID refuse such a certificate.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        let unique_identifier = name::unique_identifier(certificate.subject());
        let key = key_kind(certificate.public_key());
        let mut details = Self {
            issuer: String::new(),
            key,
            signature: String::new(),
            is_authority: false,
            key_usages: Vec::new(),
            extended_key_usages: Vec::new(),
            ip_addresses: Vec::new(),
            unique_identifier,
        };
        let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else {
            return details;
        };
        details.issuer = name::for_people(parsed.issuer().as_raw());
        details.signature = signature(&parsed.signature_algorithm.algorithm.to_id_string());
        for extension in parsed.extensions() {
            details.read(extension.parsed_extension());
        }
        details
    }

    fn read(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::BasicConstraints(constraints) => self.is_authority = constraints.ca,
            ParsedExtension::KeyUsage(usage) => {
                let names = [
                    (usage.digital_signature(), "digitalSignature"),
                    (usage.non_repudiation(), "nonRepudiation"),
                    (usage.key_encipherment(), "keyEncipherment"),
                    (usage.data_encipherment(), "dataEncipherment"),
                    (usage.key_agreement(), "keyAgreement"),
                    (usage.key_cert_sign(), "keyCertSign"),
                    (usage.crl_sign(), "cRLSign"),
                    (usage.encipher_only(), "encipherOnly"),
                    (usage.decipher_only(), "decipherOnly"),
                ];
                self.key_usages =
                    names.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let names = [
                    (usage.any, "anyExtendedKeyUsage"),
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.code_signing, "codeSigning"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ];
                let known =
                    names.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
                let other = usage.other.iter().map(x509_parser::der_parser::Oid::to_id_string);
                self.extended_key_usages = known.chain(other).collect();
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.ip_addresses = names
                    .general_names
                    .iter()
                    .filter_map(|name| match name {
                        GeneralName::IPAddress(bytes) => address(bytes),
                        _ => None,
                    })
                    .collect();
            }
            _ => {}
        }
    }
}

/// Type and size of a key, from its SubjectPublicKeyInfo.
#[must_use]
pub fn key_kind(public_key: &[u8]) -> String {
    let Ok((_, info)) = SubjectPublicKeyInfo::from_der(public_key) else {
        return "unreadable key".to_owned();
    };
    let algorithm = &info.algorithm.algorithm;
    if let Ok(PublicKey::RSA(key)) = info.parsed() {
        return format!("RSA {}", key.key_size());
    }
    if *algorithm == oid!(1.2.840.10045.2.1) {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let curve = curve.map(|curve| curve.to_id_string());
        return match curve.as_deref() {
            Some("1.2.840.10045.3.1.7") => "EC P-256".to_owned(),
            Some("1.3.132.0.34") => "EC P-384".to_owned(),
            Some("1.3.132.0.35") => "EC P-521".to_owned(),
            Some("1.3.132.0.10") => "EC secp256k1".to_owned(),
            Some(other) => format!("EC {other}"),
            None => "EC with explicit curve parameters".to_owned(),
        };
    }
    match algorithm.to_id_string().as_str() {
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        other => format!("key type {other}"),
    }
}

fn signature(oid: &str) -> String {
    match oid {
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        other => other,
    }
    .to_owned()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry, KeyType};

    use super::*;

    #[test]
    fn leaf_and_authority() {
        let authority = Authority::new("example.org", false).unwrap();
        for (kind, key) in [
            (KeyType::EcP256, "EC P-256"),
            (KeyType::EcP384, "EC P-384"),
            (KeyType::Rsa2048, "RSA 2048"),
            (KeyType::Ed25519, "Ed25519"),
        ] {
            let entry = Entry::new("spiffe://example.org/db").key_type(kind).unique_id(true);
            let svid = authority.issue(&entry).unwrap();
            let leaf = Details::of(&Certificate::parse(svid.leaf()).unwrap());
            assert_eq!(leaf.key, key);
            assert_eq!(leaf.signature, "ECDSA with SHA-256");
            assert!(!leaf.is_authority);
            assert_eq!(leaf.key_usages, ["digitalSignature", "keyEncipherment", "keyAgreement"]);
            assert_eq!(leaf.extended_key_usages, ["serverAuth", "clientAuth"]);
            assert!(leaf.issuer.starts_with("C=US, O=SPIFFE, serialNumber="), "{}", leaf.issuer);
            assert_eq!(leaf.unique_identifier.unwrap().len(), 32);
        }
        let root = Details::of(&Certificate::parse(authority.root()).unwrap());
        assert!(root.is_authority);
        assert_eq!(root.key_usages, ["keyCertSign", "cRLSign"]);
        assert_eq!(root.unique_identifier, None);
    }
}
