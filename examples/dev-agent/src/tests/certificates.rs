//! What is inside the certificates, as an independent parser and OpenSSL see it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use x509_parser::prelude::*;

use crate::{Authority, DevAgent, Entry, Flaw, KeyType, Svid, clock};

const FOO: &str = "spiffe://example.org/foo";

#[test]
fn leaf_and_root_look_like_those_of_spire() {
    let authority = Authority::new("example.org", false).unwrap();
    let entry = Entry::new(FOO).dns("localhost").dns("db").unique_id(true);
    let svid = authority.issue(&entry).unwrap();

    let leaf = parse(svid.leaf());
    assert_eq!(
        leaf.subject().to_string(),
        "C=US, O=SPIRE, CN=localhost, uniqueIdentifier=c3406f9b12ceb4f9c948318c579b905b"
    );
    // The parser's name for it; two attributes are called so.
    let last = leaf.subject().iter_attributes().last().unwrap();
    assert_eq!(last.attr_type().to_id_string(), "2.5.4.45");
    assert_eq!(names(&leaf), ["localhost", "db", FOO]);
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.to_string(), "Digital Signature, Key Encipherment, Key Agreement");
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth);
    assert_eq!(leaf.raw_serial_as_string().replace(':', ""), svid.serial_hex());
    assert_eq!(seconds(svid.not_after), leaf.validity().not_after.timestamp());

    let root = parse(authority.root());
    let serial = root.tbs_certificate.serial.to_string();
    assert_eq!(root.subject().to_string(), format!("C=US, O=SPIFFE, serialNumber={serial}"));
    assert_eq!(names(&root), ["spiffe://example.org"]);
    assert!(root.is_ca());
    let usage = root.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.to_string(), "Key Cert Sign, CRL Sign");
    root.verify_signature(None).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
}

#[test]
fn without_dns_names_the_subject_is_bare() {
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new(FOO)).unwrap();
    assert_eq!(parse(svid.leaf()).subject().to_string(), "C=US, O=SPIRE");
}

#[test]
fn openssl_accepts_chains_of_every_key_type() {
    for kind in KeyType::ALL {
        let directory = tempfile::tempdir().unwrap();
        let agent = DevAgent::builder(directory.path().join("agent.sock"))
            .ca_key_type(kind)
            .key_type(kind)
            .intermediate(true)
            .entry(Entry::new(FOO).dns("localhost"))
            .start()
            .unwrap();
        let svid = agent.svid();
        assert_eq!(svid.chain.len(), 2, "{kind}");
        openssl_verify(directory.path(), &svid);
        assert_eq!(
            openssl(directory.path(), &["x509", "-noout", "-pubkey", "-in", "chain"]),
            openssl(directory.path(), &["pkey", "-pubout", "-in", "key"]),
            "{kind}"
        );
    }
}

#[test]
fn an_svid_ends_with_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    let agent = DevAgent::builder(directory.path().join("agent.sock"))
        .ca_ttl(Duration::from_secs(600))
        .ttl(Duration::from_secs(3600))
        .entry(Entry::new(FOO))
        .start()
        .unwrap();
    assert_eq!(agent.svid().not_after, agent.authority().not_after());
}

#[test]
fn keys_are_kept_on_request_only() {
    let directory = tempfile::tempdir().unwrap();
    let agent = DevAgent::builder(directory.path().join("agent.sock"))
        .entry(Entry::new(FOO))
        .entry(Entry::new(FOO).keep_key(true))
        .start()
        .unwrap();
    let before = agent.svids();
    agent.rotate().unwrap();
    let after = agent.svids();
    assert_ne!(before[0].key, after[0].key);
    assert_eq!(before[1].key, after[1].key);
    assert_ne!(before[1].leaf(), after[1].leaf());
}

#[test]
fn flaws_of_dates_and_names() {
    let authority = Authority::new("example.org", true).unwrap();
    let issue = |flaw| authority.issue(&Entry::new(FOO).with(flaw)).unwrap();
    let hour = Duration::from_secs(3600);
    let now = clock::now();

    assert!(issue(Flaw::NotYetValid(hour)).not_before >= now + hour);
    let expired = issue(Flaw::Expired(hour));
    assert!(expired.not_after <= clock::now() - hour);
    assert!(expired.not_before < expired.not_after);

    let other = "https://example.org";
    assert_eq!(names(&parse(issue(Flaw::Uri(other.into())).leaf())), [other]);
    let two = issue(Flaw::SecondUri(other.into()));
    assert_eq!(names(&parse(two.leaf())), [FOO, other]);
    assert!(parse(issue(Flaw::Ca).leaf()).is_ca());
    let weak = issue(Flaw::NoDigitalSignature);
    let weak = parse(weak.leaf());
    let usage = weak.key_usage().unwrap().unwrap().value;
    assert!(!usage.digital_signature());
}

#[test]
fn flaws_of_trust() {
    let authority = Authority::new("example.org", true).unwrap();
    let issue = |flaw| authority.issue(&Entry::new(FOO).with(flaw)).unwrap();

    let foreign = issue(Flaw::ForeignAuthority);
    assert_ne!(foreign.chain[1], authority.intermediate().unwrap());
    assert_eq!(foreign.bundle, [authority.root()]);
    assert_eq!(issue(Flaw::Intermediates(300)).chain.len(), 301);

    let directory = tempfile::tempdir().unwrap();
    let mixed = issue(Flaw::KeyOfAnother);
    openssl_verify(directory.path(), &mixed);
    assert_ne!(
        openssl(directory.path(), &["x509", "-noout", "-pubkey", "-in", "chain"]),
        openssl(directory.path(), &["pkey", "-pubout", "-in", "key"]),
    );
}

#[test]
fn names_that_no_certificate_can_carry_are_errors() {
    let authority = Authority::new("example.org", false).unwrap();
    let error = authority.issue(&Entry::new("spiffe://example.org/ü"));
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "cannot issue a certificate for spiffe://example.org/ü");
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) => (*text).to_owned(),
        other => panic!("unexpected name {other}"),
    };
    names.value.general_names.iter().map(text).collect()
}

fn seconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since_epoch.as_secs().try_into().unwrap()
}

fn openssl_verify(directory: &Path, svid: &Svid) {
    for (name, content) in
        [("chain", svid.chain_pem()), ("key", svid.key_pem()), ("bundle", svid.bundle_pem())]
    {
        let mut file = File::create(directory.join(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }
    let command = "verify -x509_strict -purpose sslserver -CAfile bundle -untrusted chain chain";
    openssl(directory, &command.split(' ').collect::<Vec<_>>());
}

fn openssl(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("openssl is needed for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
