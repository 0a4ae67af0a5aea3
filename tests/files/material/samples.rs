//! Certificates of many kinds, as odd as OpenSSL can make them.

use std::path::Path;
use std::sync::LazyLock;

use dev_agent::{Authority, Entry, KeyType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use test_support::{Directory, openssl};

/// One certificate, and what it is called in a failure.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) der: Vec<u8>,
}

/// Arguments of `openssl req -x509`, which makes a key and a certificate that is signed by it.
const KEYS: &[(&str, &[&str])] = &[
    ("P-256", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("P-521", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-sha512"]),
    (
        "explicit curve",
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-pkeyopt",
            "ec_param_enc:explicit",
        ],
    ),
    ("RSA", &["-newkey", "rsa:2048"]),
    ("RSA with SHA-1", &["-newkey", "rsa:2048", "-sha1"]),
    ("short RSA", &["-newkey", "rsa:1024"]),
    ("RSA-PSS", &["-newkey", "rsa-pss", "-sigopt", "rsa_padding_mode:pss"]),
    ("Ed25519", &["-newkey", "ed25519"]),
    ("Ed448", &["-newkey", "ed448"]),
];

/// Sections for its configuration: a name, extensions.
const CONTENTS: &[(&str, &str, &str)] = &[
    ("plain", "CN = plain", ""),
    ("no subject", "", "basicConstraints = critical, CA:TRUE"),
    (
        "authority of many extensions",
        "C = US\nO = Authority\n0.OU = a\n1.OU = b\nserialNumber = 17\nemailAddress = a@example.org\nDC = org",
        "basicConstraints = critical, CA:TRUE, pathlen:3\n\
         keyUsage = critical, keyCertSign, cRLSign\n\
         subjectKeyIdentifier = hash\n\
         authorityKeyIdentifier = keyid:always, issuer:always\n\
         nameConstraints = critical, permitted;DNS:example.org, permitted;URI:example.org, excluded;email:b@example.org, \
         excluded;IP:10.0.0.0/255.0.0.0, permitted;dirName:directory\n\
         policyConstraints = requireExplicitPolicy:3\n\
         certificatePolicies = 1.2.3.4, anyPolicy\n\
         crlDistributionPoints = point\n\
         issuerAltName = DNS:issuer.example.org\n\
         nsCertType = server, sslCA\n\
         nsComment = a comment\n\
         1.2.3.4.5 = DER:05:00\n\
         1.2.3.4.6 = critical, DER:0c:03:61:62:63\n\
         [point]\nfullname = URI:http://example.org/a.crl, dirName:directory\nreasons = keyCompromise\n\
         CRLissuer = dirName:directory\n[directory]\nC = DE\nCN = directory\n",
    ),
    (
        "leaf of many names",
        "C = US\nO = SPIRE\n+CN = db.example.org\n+OU = beside\nx500UniqueIdentifier = 05f36d7dd1e4df9bcc1b4e4ebdb87c11",
        "basicConstraints = CA:FALSE\n\
         keyUsage = digitalSignature, decipherOnly, keyAgreement\n\
         extendedKeyUsage = serverAuth, clientAuth, 1.2.3.4\n\
         subjectAltName = URI:spiffe://example.org/db, DNS:db.example.org, IP:10.0.0.1, IP:::1, email:a@example.org, \
         RID:1.2.3.4, dirName:directory, otherName:1.2.3.4;UTF8:other\n\
         sbgp-ipAddrBlock = critical, IPv4:10.0.0.0/8, IPv6:inherit, IPv4-SAFI:1:10.1.0.0-10.1.0.9\n\
         sbgp-autonomousSysNum = critical, AS:64511, AS:64496-64510, RDI:inherit\n\
         crlDistributionPoints = relative\n\
         [relative]\nrelativename = directory\n[directory]\nCN = directory\n",
    ),
];

/// How strings are encoded, and a name that cannot be encoded more narrowly.
const STRINGS: &[(&str, &str)] = &[
    ("nombstr", "name"),
    ("nombstr", "Zürich"),
    ("utf8only", "Zürich 🐘"),
    ("MASK:0x800", "北京"),
    ("MASK:0x4", "teletex"),
];

/// As they come: authorities and leaves, with some of the keys each.
pub(crate) static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(samples);

fn samples() -> Vec<Sample> {
    let directory = Directory::new();
    let mut samples = Vec::new();
    for (key, arguments) in KEYS {
        for (content, name, extensions) in CONTENTS {
            let der = self_signed(&directory, arguments, "utf8only", name, extensions);
            samples.push(Sample { name: format!("{content}, {key}"), der });
        }
    }
    for (mask, text) in STRINGS {
        let name = format!("O = {text}\nCN = {text}");
        let der = self_signed(&directory, KEYS[0].1, mask, &name, "");
        samples.push(Sample { name: format!("{text} with {mask}"), der });
    }
    for number in ["0", "-5", "0x80", "0x123456789abcdef0123456789abcdef0123456789abcdef"] {
        let arguments = [KEYS[0].1, &["-set_serial", number]].concat();
        let der = self_signed(&directory, &arguments, "utf8only", "CN = number", "");
        samples.push(Sample { name: format!("serial number {number}"), der });
    }
    let arguments = [KEYS[0].1, &["-days", "20000"]].concat();
    let der = self_signed(&directory, &arguments, "utf8only", "CN = GeneralizedTime", "");
    samples.push(Sample { name: "valid beyond 2050".to_owned(), der });
    samples.push(Sample { name: "version 1".to_owned(), der: version_1(&directory) });
    for key in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
        let authority = Authority::new("example.org", true).unwrap();
        let entry = Entry::new("spiffe://example.org/db").dns("db").key_type(key).unique_id(true);
        for der in [
            authority.root(),
            authority.intermediate().unwrap(),
            authority.issue(&entry).unwrap().leaf(),
        ] {
            samples.push(Sample { name: format!("as SPIRE has it, {key:?}"), der: der.to_vec() });
        }
    }
    samples
}

/// What Debian's package ca-certificates brings along.
pub(crate) fn public_authorities() -> Vec<Sample> {
    let bundle =
        std::fs::read("/etc/ssl/certs/ca-certificates.crt").expect("ca-certificates is installed");
    CertificateDer::pem_slice_iter(&bundle)
        .enumerate()
        .map(|(at, der)| Sample {
            name: format!("certificate {at} of ca-certificates.crt"),
            der: der.unwrap().to_vec(),
        })
        .collect()
}

fn self_signed(
    directory: &Directory,
    arguments: &[&str],
    mask: &str,
    name: &str,
    extensions: &str,
) -> Vec<u8> {
    let configuration = directory.write("openssl.cnf", format!(
        "[req]\nprompt = no\nutf8 = yes\ndistinguished_name = name\nx509_extensions = extensions\nstring_mask = {mask}\n\
         [name]\n{name}\n[extensions]\n{extensions}\n"
    ), 0o644);
    let key = directory.join("key.pem");
    let fixed = [
        "req",
        "-x509",
        "-nodes",
        "-outform",
        "DER",
        "-config",
        path(&configuration),
        "-keyout",
        path(&key),
    ];
    let nameless: &[&str] = if name.is_empty() { &["-subj", "/"] } else { &[] };
    openssl(&[&fixed, arguments, nameless].concat(), "")
}

fn version_1(directory: &Directory) -> Vec<u8> {
    let key = directory.join("key.pem");
    let request = openssl(&["req", "-new", "-key", path(&key), "-subj", "/CN=old"], "");
    openssl(&["x509", "-req", "-signkey", path(&key), "-outform", "DER"], request)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
