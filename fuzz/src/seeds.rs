//! A certificate authority and what it issues, the same in every process, so that an input means the same tomorrow.
//!
//! Nothing here is a secret: the keys are a byte repeated, and the number one.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, SigningKey as _, date_time_ymd,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The workload.
pub const ID: &str = "spiffe://example.org/ns/apps/sa/db";
/// Its trust domain.
pub const DOMAIN: &str = "example.org";

/// The moment at which everything is judged: 2 January 2026. The certificates live from the day before to the day after.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_312_000)
}

/// Root, intermediate and leaves.
pub static SEEDS: LazyLock<Seeds> = LazyLock::new(Seeds::new);

pub struct Seeds {
    pub root: Signed,
    pub intermediate: Signed,
    /// Signed by the root, with a key of P-256.
    pub leaf: Signed,
    /// Signed by the intermediate, with a key of Ed25519.
    pub lower_leaf: Signed,
}

/// A certificate, its key, and the key that has signed it.
pub struct Signed {
    pub der: Vec<u8>,
    /// PKCS#8
    pub key: Vec<u8>,
    signer: KeyPair,
}

impl Seeds {
    fn new() -> Self {
        let (root_key, lower_key) = (ed25519(1), ed25519(2));
        let root = authority(1);
        let root_der = root.self_signed(&pair(&root_key)).unwrap().der().to_vec();
        let root_issuer = Issuer::new(root, pair(&root_key));
        let lower = authority(2);
        let lower_der = lower.signed_by(&pair(&lower_key), &root_issuer).unwrap().der().to_vec();
        let lower_issuer = Issuer::new(lower, pair(&lower_key));
        let leaf_key = p256();
        let leaf_pair = KeyPair::from_pkcs8_der_and_sign_algo(
            &leaf_key.as_slice().into(),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        );
        let leaf_der = leaf(3).signed_by(&leaf_pair.unwrap(), &root_issuer).unwrap();
        let other_key = ed25519(4);
        let other_der = leaf(4).signed_by(&pair(&other_key), &lower_issuer).unwrap();
        Self {
            leaf: Signed { der: leaf_der.der().to_vec(), key: leaf_key, signer: pair(&root_key) },
            lower_leaf: Signed {
                der: other_der.der().to_vec(),
                key: other_key,
                signer: pair(&lower_key),
            },
            intermediate: Signed { der: lower_der, key: lower_key, signer: pair(&root_key) },
            root: Signed { der: root_der, key: root_key.clone(), signer: pair(&root_key) },
        }
    }
}

impl Signed {
    /// What the signature covers.
    pub fn to_be_signed(&self) -> Vec<u8> {
        let (_, parsed) = X509Certificate::from_der(&self.der).unwrap();
        parsed.tbs_certificate.as_ref().to_vec()
    }

    /// The certificate of another text, signed by the same key: what is wrong with it is deeper than its signature.
    pub fn signed_anew(&self, to_be_signed: &[u8]) -> Vec<u8> {
        // AlgorithmIdentifier of Ed25519 (RFC 8410 section 3).
        let algorithm = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
        let signature = self.signer.sign(to_be_signed).unwrap();
        let bits = [&[0x00], signature.as_slice()].concat();
        element(0x30, &[to_be_signed, &algorithm, &element(0x03, &bits)].concat())
    }
}

fn authority(number: u8) -> CertificateParams {
    let mut params = dated(number);
    let id = format!("spiffe://{DOMAIN}");
    push(&mut params.distinguished_name, DnType::from_oid(&[2, 5, 4, 5]), &number.to_string());
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(number: u8) -> CertificateParams {
    let mut params = dated(number);
    push(&mut params.distinguished_name, DnType::CommonName, "db.example");
    // x500UniqueIdentifier, as SPIRE composes it.
    let identifier = DnType::from_oid(&[2, 5, 4, 45]);
    push(&mut params.distinguished_name, identifier, "05f36d7dd1e4df9bcc1b4e4ebdb87c11");
    params.subject_alt_names = vec![
        SanType::URI(ID.try_into().unwrap()),
        SanType::DnsName("db.example".try_into().unwrap()),
        SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn dated(number: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 3);
    params.serial_number = Some(SerialNumber::from_slice(&[number; 16]));
    params.distinguished_name = DistinguishedName::new();
    push(&mut params.distinguished_name, DnType::CountryName, "US");
    push(&mut params.distinguished_name, DnType::OrganizationName, "SPIRE");
    params
}

fn push(name: &mut DistinguishedName, kind: DnType, value: &str) {
    name.push(kind, value);
}

fn pair(ed25519: &[u8]) -> KeyPair {
    KeyPair::from_pkcs8_der_and_sign_algo(&ed25519.into(), &rcgen::PKCS_ED25519).unwrap()
}

/// PKCS#8 of the Ed25519 key whose every byte is this one (RFC 8410 section 7).
fn ed25519(byte: u8) -> Vec<u8> {
    let algorithm = element(0x30, &[0x06, 0x03, 0x2b, 0x65, 0x70]);
    let key = element(0x04, &element(0x04, &[byte; 32]));
    element(0x30, &[&[0x02, 0x01, 0x00], algorithm.as_slice(), &key].concat())
}

/// PKCS#8 of the P-256 key whose number is one: its public key is the curve's generator (SEC 2 section 2.4.2).
fn p256() -> Vec<u8> {
    const GENERATOR: [u8; 65] = [
        0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4,
        0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8,
        0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a,
        0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40,
        0x68, 0x37, 0xbf, 0x51, 0xf5,
    ];
    let mut one = [0; 32];
    one[31] = 1;
    // ecPublicKey and prime256v1 (RFC 5480 section 2.1.1).
    let algorithm = [
        0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
        0x3d, 0x03, 0x01, 0x07,
    ];
    // ECPrivateKey (RFC 5915 section 3).
    let public = element(0xa1, &element(0x03, &[&[0x00], GENERATOR.as_slice()].concat()));
    let private = [&[0x02, 0x01, 0x01], element(0x04, &one).as_slice(), &public].concat();
    let key = element(0x04, &element(0x30, &private));
    element(0x30, &[&[0x02, 0x01, 0x00], element(0x30, &algorithm).as_slice(), &key].concat())
}

/// One DER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut element = vec![tag];
    if content.len() < 0x80 {
        element.extend(significant.first().copied().or(Some(0)));
    } else {
        element.push(0x80 | u8::try_from(significant.len()).unwrap());
        element.extend(significant);
    }
    element.extend(content);
    element
}
