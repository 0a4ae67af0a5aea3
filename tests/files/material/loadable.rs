//! A29: what OpenSSL does not load is refused, because PostgreSQL could not start with it; what OpenSSL loads is accepted,
//! however odd.

use std::path::PathBuf;

use dev_agent::KeyType;
use pgsvid::material::{Certificate, Offer, pem};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SigningKey as _,
};
use test_support::{Dice, Directory, openssl};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::material::mutation::{element, mutated, with_value};
use crate::material::offers::{ID, authority, check, offer, workload};
use crate::material::openssl::{Question, Questions, hex};
use crate::material::samples::{SAMPLES, Sample, public_authorities};

/// How many certificates are changed. More are tried with `MUTATIONS`, and the same ones again with `MUTATION_SEED`.
fn how_many(usual: usize) -> usize {
    std::env::var("MUTATIONS").map_or(usual, |count| count.parse().unwrap())
}

#[test]
fn a29_odd_certificates_that_openssl_loads_are_accepted() {
    let public = public_authorities();
    let samples = || SAMPLES.iter().chain(&public);
    let mut questions = Questions::default();
    for sample in samples() {
        questions.ask(&Question::Bundle(&[&sample.der]));
        questions.ask(&Question::Extensions(&sample.der));
    }
    let answers = questions.answers();
    for (Sample { name, der }, answers) in samples().zip(answers.chunks(2)) {
        assert_eq!(answers, [Ok(()), Ok(())], "{name}");
        Certificate::parse(der).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a29_an_authority_with_something_changed_is_taken_only_if_openssl_loads_it() {
    let mut dice = Dice::from_environment("MUTATION_SEED");
    let seed = dice.seed();
    let mut questions = Questions::default();
    let mut taken = Vec::new();
    for at in 0..how_many(6000) {
        let sample = &SAMPLES[at % SAMPLES.len()];
        let der = mutated(&sample.der, &mut dice);
        if Certificate::parse(&der).is_ok() {
            // Behind a good one: all of a file have to be loaded.
            questions.ask(&Question::Bundle(&[&sample.der, &der]));
            questions.ask(&Question::Extensions(&der));
            taken.push((&sample.name, der));
        }
    }
    assert!(taken.len() > how_many(6000) / 20, "{} are taken", taken.len());
    for ((name, der), answers) in taken.iter().zip(questions.answers().chunks(2)) {
        assert_eq!(answers, [Ok(()), Ok(())], "{seed}: {name}: {}", hex(der));
    }
}

#[test]
fn a29_a_value_in_a_name_is_taken_as_openssl_takes_it() {
    let sample = &SAMPLES[0].der;
    let contents: &[&[u8]] = &[
        b"",
        b"a",
        b"ab",
        b"abcd",
        "Zürich".as_bytes(),
        "北京 🐘".as_bytes(),
        // UTF-8 that is cut off, too long, a surrogate, and beyond the last character.
        b"Z\xfcrich",
        b"\xc3",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        // The same in two and four bytes a character.
        b"\x53\x17\x4e\xac",
        b"\xd8\x3d\xdc\x18",
        b"\xdc\x18",
        b"\0\x01\xf4\x18",
        b"\0\0\xd8\x00",
        b"\0\x11\0\0",
        b"\x7f\xff\xff\xff",
        b"\0\0\0",
        b"\xff",
        b"\x08a",
        b"\0\0",
        b"\x80",
        b"a\0b",
    ];
    // Types that no name has ever had are refused here and taken there, or the other way round.
    let types = [
        1, 2, 3, 4, 5, 6, 10, 12, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 0x30, 0x31, 0x80,
        0xa0,
    ];
    let mut questions = Questions::default();
    let mut taken = Vec::new();
    for (tag, content) in types.iter().flat_map(|tag| contents.iter().map(move |it| (tag, it))) {
        let der = with_value(sample, *tag, content);
        questions.ask(&Question::Bundle(&[&der]));
        taken.push((tag, content, Certificate::parse(&der)));
    }
    for ((tag, content, taken), answer) in taken.iter().zip(questions.answers()) {
        assert_eq!(taken.is_ok(), answer.is_ok(), "{tag} {content:x?}: {taken:?}, {answer:?}");
    }
}

/// What is changed is signed again, so that nothing but the change speaks against it.
#[test]
fn a29_a_leaf_with_something_changed_is_taken_only_if_openssl_serves_it() {
    let mut dice = Dice::from_environment("MUTATION_SEED");
    let seed = dice.seed();
    let issuer = Signer::new();
    let key = issuer.key_file();
    check(issuer.offer(&issuer.leaf)).unwrap();
    let (_, parsed) = X509Certificate::from_der(&issuer.leaf).unwrap();
    let to_be_signed = parsed.tbs_certificate.as_ref();
    let mut questions = Questions::default();
    let mut taken = Vec::new();
    for _ in 0..how_many(1500) {
        let leaf = issuer.sign(&mutated(to_be_signed, &mut dice));
        if check(issuer.offer(&leaf)).is_ok() {
            questions.ask(&Question::Chain(&key, &[&leaf]));
            taken.push(leaf);
        }
    }
    assert!(taken.len() > how_many(1500) / 50, "{} are taken", taken.len());
    for (der, answer) in taken.iter().zip(questions.answers()) {
        assert_eq!(answer, Ok(()), "{seed}: {}", hex(der));
    }
}

/// What stands behind the leaf is served, too, even if no path needs it.
#[test]
fn a29_an_intermediate_is_taken_only_if_openssl_serves_it() {
    let mut dice = Dice::from_environment("MUTATION_SEED");
    let seed = dice.seed();
    let directory = Directory::new();
    let svid = authority(true).issue(&workload()).unwrap();
    let key = directory.write("key.pem", svid.key_pem(), 0o600);
    let with = |der: &[u8]| {
        let mut offer = offer(&svid);
        offer.chain.extend(der);
        check(offer)
    };
    let mut questions = Questions::default();
    let mut taken = Vec::new();
    for at in 0..how_many(3000) {
        let Sample { name, der } = &SAMPLES[at % SAMPLES.len()];
        let der = if at < SAMPLES.len() { der.clone() } else { mutated(der, &mut dice) };
        if with(&der).is_ok() {
            questions.ask(&Question::Chain(&key, &[&svid.chain[0], &svid.chain[1], &der]));
            taken.push((name, der));
        }
    }
    let answers = questions.answers();
    for ((name, der), answer) in taken.iter().zip(&answers) {
        assert_eq!(*answer, Ok(()), "{seed}: {name}: {}", hex(der));
    }
    for kind in ["P-256", "RSA", "RSA with SHA-1", "Ed25519"] {
        let name = format!("plain, {kind}");
        assert!(taken.iter().any(|(taken, _)| **taken == name), "{name}");
    }
}

/// Version 2 of PKCS#8 holds the public key, too: ring makes and reads it, and OpenSSL 3.0 does not.
#[test]
fn a29_a_key_that_openssl_does_not_read_is_rewritten() {
    let directory = Directory::new();
    let svid = authority(false).issue(&workload().key_type(KeyType::Ed25519)).unwrap();
    let before = check(offer(&svid)).unwrap();
    let key =
        KeyPair::from_pkcs8_der_and_sign_algo(&svid.key.as_slice().into(), &rcgen::PKCS_ED25519);
    let public = [&[0x81, 33, 0], key.unwrap().public_key_raw()].concat();
    let mut second = offer(&svid);
    second.key[1] += u8::try_from(public.len()).unwrap();
    // The version, which is counted from zero.
    second.key[4] = 1;
    second.key.extend(public);
    let after = check(second).unwrap();
    assert_eq!(after.key().expose(), before.key().expose());
    // Later versions of OpenSSL read what is offered, too.
    let file = directory.write("key.pem", &*pem::encode_key(after.key()), 0o600);
    let mut questions = Questions::default();
    questions.ask(&Question::Chain(&file, &[svid.leaf()]));
    assert_eq!(questions.answers(), [Ok(())]);
}

/// An authority whose key signs whatever it is given.
struct Signer {
    directory: Directory,
    key: KeyPair,
    root: Vec<u8>,
    leaf_key: KeyPair,
    leaf: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let [key, leaf_key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut root = CertificateParams::default();
        // A leaf of its issuer's name is taken for its own issuer.
        root.distinguished_name.push(DnType::CommonName, "issuer");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root_der = root.self_signed(&key).unwrap().der().to_vec();
        let mut leaf = CertificateParams::new(["db.example.org".to_owned()]).unwrap();
        leaf.subject_alt_names.push(SanType::URI(ID.try_into().unwrap()));
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_params(&root, &key);
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap().der().to_vec();
        Self { directory: Directory::new(), key, root: root_der, leaf_key, leaf }
    }

    fn key_file(&self) -> PathBuf {
        let pem = openssl(&["pkey", "-inform", "DER"], self.leaf_key.serialize_der());
        self.directory.write("key.pem", pem, 0o600)
    }

    fn sign(&self, to_be_signed: &[u8]) -> Vec<u8> {
        // ecdsa-with-SHA256 (RFC 5758, section 3.2).
        let algorithm = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let signature = [&[0], self.key.sign(to_be_signed).unwrap().as_slice()].concat();
        let parts = [to_be_signed, &element(0x30, &algorithm), &element(3, &signature)];
        element(0x30, &parts.concat())
    }

    fn offer(&self, leaf: &[u8]) -> Offer {
        Offer {
            spiffe_id: None,
            hint: String::new(),
            chain: leaf.to_vec(),
            key: Zeroizing::new(self.leaf_key.serialize_der()),
            bundle: self.root.clone(),
        }
    }
}
