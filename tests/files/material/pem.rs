//! PEM: OpenSSL reads what pgsvid writes, and pgsvid reads it back unchanged.

use std::io::Write as _;

use dev_agent::{DevAgent, KeyType};
use pgsvid::material::{Certificate, Expectations, Offer, PrivateKey, Rejection, pem};
use pgsvid::timing;
use test_support::openssl;
use zeroize::Zeroizing;

use crate::material::offers::{authority, check, offer, workload};
use crate::material::openssl::{Question, Questions};

#[test]
fn openssl_reads_certificates_and_keys_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
        let agent = DevAgent::builder(directory.path().join(kind.to_string()))
            .entry(workload().key_type(kind))
            .start()
            .unwrap();
        let svid = agent.svid();
        let material = check(offer(&svid)).unwrap();
        let chain = pem::encode_certificates(material.chain());
        assert_eq!(openssl(&["x509", "-outform", "DER"], &chain), svid.leaf());
        let key = pem::encode_key(material.key());
        assert_eq!(
            openssl(&["pkey", "-pubout", "-outform", "DER"], &key),
            material.leaf().public_key(),
            "{kind}"
        );
        // OpenSSL writes PKCS#8 as the same text.
        assert_eq!(
            openssl(&["pkcs8", "-topk8", "-nocrypt"], openssl(&["pkey"], &key)).len(),
            key.len()
        );
    }
}

#[test]
fn a99_openssl_loads_the_key_with_any_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519] {
        let agent = DevAgent::builder(directory.path().join(kind.to_string()))
            .entry(workload().key_type(kind))
            .start()
            .unwrap();
        let svid = agent.svid();
        // Attributes ([0] of RFC 5958) that are none.
        let flawed = [&[0xa0, 20][..], &[0xff; 20]].concat();
        let key = pkcs8_with(&svid.key, &flawed);
        let text =
            pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::default(), &key)
                .unwrap();
        assert!(!is_loaded(text.as_bytes()), "OpenSSL loads what the agent sends: {kind}");
        let material = check(Offer { key: Zeroizing::new(key), ..offer(&svid) }).unwrap();
        let public = openssl(
            &["pkey", "-pubout", "-outform", "DER"],
            pem::encode_key(material.key()).as_slice(),
        );
        assert_eq!(public, material.leaf().public_key(), "{kind}");
    }
}

/// The public half is right, so that OpenSSL loads it; what it signs is not verified by anybody.
#[test]
fn b01_a_key_that_signs_wrong_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let agent = DevAgent::builder(directory.path().join("agent.sock"))
        .entry(workload().key_type(KeyType::Rsa2048))
        .start()
        .unwrap();
    let svid = agent.svid();
    let (_, info) = x509_parser::der_parser::parse_der(&svid.key).unwrap();
    let inner = info.as_sequence().unwrap()[2].as_slice().unwrap();
    let (_, rsa) = x509_parser::der_parser::parse_der(inner).unwrap();
    // RFC 8017, appendix A.1.2: exponent1 and exponent2 follow version, n, e, d, p and q.
    for at in [6, 7] {
        let exponent = rsa.as_sequence().unwrap()[at].as_slice().unwrap();
        let start = svid.key.windows(exponent.len()).position(|found| found == exponent).unwrap();
        let mut key = svid.key.clone();
        key[start + exponent.len() - 1] ^= 2;
        let refused = check(Offer { key: Zeroizing::new(key), ..offer(&svid) }).unwrap_err();
        assert!(matches!(refused, Rejection::Key(_)), "{refused}");
    }
}

/// What stands around base64 decides which blocks OpenSSL sees; whatever is done to it, we see the same ones.
#[test]
fn f18_of_any_text_the_certificates_are_read_that_openssl_reads() {
    let directory = tempfile::tempdir().unwrap();
    let agent =
        DevAgent::builder(directory.path().join("agent.sock")).entry(workload()).start().unwrap();
    let svid = agent.svid();
    let (leaf, root) = (svid.chain_pem(), agent.authority().root_pem());
    let end = "-----END CERTIFICATE-----\n";
    let begin = "-----BEGIN CERTIFICATE-----";
    let mut texts: Vec<Vec<u8>> = [
        format!("{leaf}{root}"),
        format!("{leaf}{root}")
            .replace(&format!("{end}{begin}"), &format!("{}{begin}", end.trim())),
        format!("\"{leaf}{root}\""),
        format!("{root} {leaf}{root}"),
        format!("\u{feff}{leaf}"),
        format!("{leaf}{root}").replace("CERTIFICATE", "X509 CERTIFICATE"),
        leaf.replace('\n', "\r\n"),
        leaf.replace('\n', "\\n"),
        leaf.replace('\n', ""),
        leaf.replacen(begin, &format!("{begin}\n"), 1),
        leaf.replacen(begin, &format!("{begin}\nName: value\n"), 1),
        leaf.replacen(begin, &format!("{begin}\nProc-Type: 4,ENCRYPTED\n"), 1),
        leaf.replace(begin, "-----BEGIN SOMETHING-----").replace(end, "-----END SOMETHING-----\n")
            + &root,
        format!("{}\n{root}", "x".repeat(300)),
        format!("{}{root}", "x".repeat(254)),
        format!("{root}\0{leaf}"),
    ]
    .map(String::into_bytes)
    .to_vec();
    // Base64 of one long line.
    let body = leaf.trim_start_matches(begin).trim_end_matches(end).replace('\n', "");
    texts.push(format!("{begin}\n{body}\n{end}").into_bytes());
    let trusted = openssl(&["x509", "-trustout"], leaf.as_bytes());
    texts.push([trusted.as_slice(), root.as_bytes()].concat());
    let mut dice = fastrand::Rng::with_seed(21);
    let pieces = texts.clone();
    for _ in 0..1000 {
        let mut text = dice.choice(&pieces).unwrap().clone();
        for _ in 0..dice.usize(1..4) {
            disturb(&mut text, &mut dice);
        }
        texts.push(text);
    }
    let mut questions = Questions::default();
    for text in &texts {
        let read = pem::decode_certificates(text).unwrap_or_default();
        let read: Vec<&[u8]> = read.iter().map(Certificate::der).collect();
        questions.ask(&Question::Text(text, &read));
    }
    let answers = questions.answers();
    assert!(texts.iter().filter(|text| pem::decode_certificates(text).is_ok()).count() > 200);
    let differ = texts.iter().zip(answers).filter(|(_, answer)| answer.is_err());
    let differ: Vec<_> = differ
        .map(|(text, answer)| {
            let ours = pem::decode_certificates(text).map(|read| read.len());
            format!("ours {ours:?}, OpenSSL {answer:?}: {}", text.escape_ascii())
        })
        .collect();
    assert!(differ.is_empty(), "{} texts: {}", differ.len(), differ[0]);
}

/// Something is put in, or taken out, that is no base64: the certificates stay what they are.
fn disturb(text: &mut Vec<u8>, dice: &mut fastrand::Rng) {
    let lines: Vec<usize> =
        text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let edge = |dice: &mut fastrand::Rng| dice.choice(&lines).map_or(0, |at| at + dice.usize(0..2));
    let at = if dice.bool() { edge(dice) } else { dice.usize(0..=text.len()) }.min(text.len());
    let pieces: [&[u8]; 12] = [
        b"\"",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\n\n",
        b"-",
        b":",
        b"\xc2\xa0",
        b"\xef\xbb\xbf",
        b"\0",
        b"-----",
    ];
    if dice.u8(0..3) > 0 {
        let piece = dice.choice(pieces).unwrap();
        text.splice(at..at, piece.iter().copied());
    } else if text
        .get(at)
        .is_some_and(|byte| !byte.is_ascii_alphanumeric() && !b"+/=".contains(byte))
    {
        text.remove(at);
    }
}

/// A PKCS#8 structure with more at its end.
fn pkcs8_with(key: &[u8], more: &[u8]) -> Vec<u8> {
    let (_, parsed) = x509_parser::der_parser::parse_der(key).unwrap();
    let head = key.len() - parsed.header.length().definite().unwrap();
    let body = [&key[head..], more].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let length = if body.len() < 0x80 {
        vec![length[1]]
    } else if body.len() < 0x100 {
        vec![0x81, length[1]]
    } else {
        vec![0x82, length[0], length[1]]
    };
    [&[0x30][..], &length, &body].concat()
}

/// Whether OpenSSL takes this for a private key.
fn is_loaded(key: &[u8]) -> bool {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(key).unwrap();
    let output = std::process::Command::new("openssl")
        .args(["pkey", "-noout", "-in"])
        .arg(file.path())
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn openssl_verifies_the_published_chain_against_the_published_bundle() {
    let directory = tempfile::tempdir().unwrap();
    let svid = authority(true).issue(&workload()).unwrap();
    let material = check(offer(&svid)).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path.display().to_string()
    };
    let chain = write("chain", &pem::encode_certificates(material.chain()));
    let bundle = write("bundle", &pem::encode_certificates(material.authorities()));
    let arguments = [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        &bundle,
        "-untrusted",
        &chain,
        &chain,
    ];
    let text = openssl(&arguments, b"");
    assert!(String::from_utf8_lossy(&text).ends_with(": OK\n"));
}

#[test]
fn what_is_written_is_read_back_as_what_it_was() {
    for intermediate in [false, true] {
        let material = check(offer(&authority(intermediate).issue(&workload()).unwrap())).unwrap();
        let chain = pem::encode_certificates(material.chain());
        let key = pem::encode_key(material.key());
        let bundle = pem::encode_certificates(material.authorities());
        let none = Expectations::default();
        let read = pem::decode_material(&chain, &key, &bundle, &none, timing::now()).unwrap();
        assert!(read.publishes_as(&material));
        assert_eq!(read.key().expose(), material.key().expose());

        // The files of another identity do not go with these.
        let other = check(offer(&authority(false).issue(&workload()).unwrap())).unwrap();
        let foreign = pem::encode_key(other.key());
        for (chain, key, bundle) in [
            (&chain[..], &foreign[..], &bundle[..]),
            (b"", &key, &bundle),
            (&chain, b"", &bundle),
            (&chain, &key, b""),
            (&chain, &chain, &bundle),
            (&chain[..chain.len() / 2], &key, &bundle),
        ] {
            assert!(pem::decode_material(chain, key, bundle, &none, timing::now()).is_err());
        }
    }
}

#[test]
fn a_keys_buffer_is_made_in_its_size_so_that_no_copy_is_left_behind() {
    for size in [1, 48, 138, 1217] {
        let key = pem::encode_key(&PrivateKey::new(Zeroizing::new(vec![7; size])));
        assert_eq!(key.len(), key.capacity(), "{size}");
        let text = std::str::from_utf8(&key).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{text}");
        assert!(text.ends_with("\n-----END PRIVATE KEY-----\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
    }
}

#[test]
fn text_around_the_blocks_and_other_ends_of_lines_are_passed_over() {
    let svid = authority(true).issue(&workload()).unwrap();
    let text = format!("subject=CN\n{}\nissuer=CN\n{}", svid.chain_pem(), svid.bundle_pem());
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let read = pem::decode_certificates(text.as_bytes()).unwrap();
        let wanted: Vec<&[u8]> = svid.chain.iter().chain(&svid.bundle).map(Vec::as_slice).collect();
        assert_eq!(read.iter().map(Certificate::der).collect::<Vec<_>>(), wanted);
    }
    for wrong in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(pem::decode_certificates(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn keys_in_openssls_older_encodings_have_the_same_public_key() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [KeyType::EcP256, KeyType::Rsa2048] {
        let agent = DevAgent::builder(directory.path().join(kind.to_string()))
            .entry(workload().key_type(kind))
            .start()
            .unwrap();
        let svid = agent.svid();
        let older = openssl(&["pkey", "-traditional"], svid.key_pem().as_bytes());
        assert!(!String::from_utf8_lossy(&older).contains("BEGIN PRIVATE KEY"));
        let leaf = Certificate::parse(svid.leaf()).unwrap();
        assert_eq!(pem::public_key_of(&older).unwrap().as_ref(), leaf.public_key(), "{kind}");
    }
}
