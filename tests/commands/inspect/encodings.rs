//! Keys in every encoding, and formats that must be converted.

use std::path::Path;
use std::process::Command;

use dev_agent::{Authority, Entry, KeyType};
use serde_json::Value;
use test_support::Directory;

use crate::inspect::{ID, openssl, run, set, shown};

#[test]
fn every_encoding_of_a_key_is_read_or_converted() {
    let authority = Authority::new("example.org", false).unwrap();
    // Ed25519 has one encoding only.
    for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let svid = authority.issue(&Entry::new(ID).dns("db").key_type(kind)).unwrap();
        let files = set(&svid);
        let key = shown(&files.join("svid_key.pem"));
        let file = |name: &str| shown(&files.join(name));
        openssl(&["pkey", "-in", &key, "-traditional", "-out", &file("a.pem")]);
        openssl(&["pkey", "-in", &key, "-traditional", "-outform", "DER", "-out", &file("a.der")]);
        openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            &key,
            "-outform",
            "DER",
            "-out",
            &file("b.der"),
        ]);
        files.write("svid.der", svid.leaf(), 0o644);
        readable(&files);
        for name in ["a.pem", "a.der", "b.der"] {
            let (status, text) = run(&[&files.join("svid.der"), &files.join(name)], &[]);
            assert_eq!(status, 0, "{kind:?} {name}: {text}");
            assert!(text.contains("belongs to the leaf"), "{kind:?} {name}: {text}");
        }
    }

    let svid = authority.issue(&Entry::new(ID).dns("db")).unwrap();
    let files = set(&svid);
    let file = |name: &str| shown(&files.join(name));
    let (key, leaf) = (file("svid_key.pem"), file("svid.pem"));
    let pass = ["-passout", "pass:secret"];
    openssl(
        &[&["pkcs8", "-topk8", "-in", &key, "-out", &file("encrypted.pem")], &pass[..]].concat(),
    );
    openssl(
        &[
            &["pkcs8", "-topk8", "-in", &key, "-outform", "DER", "-out", &file("encrypted.der")],
            &pass[..],
        ]
        .concat(),
    );
    openssl(&[&["ec", "-aes128", "-in", &key, "-out", &file("old.pem")], &pass[..]].concat());
    openssl(&["crl2pkcs7", "-nocrl", "-certfile", &leaf, "-out", &file("set.p7b")]);
    openssl(&[
        "crl2pkcs7",
        "-nocrl",
        "-certfile",
        &leaf,
        "-outform",
        "DER",
        "-out",
        &file("set.p7c"),
    ]);
    openssl(&["x509", "-in", &file("svid_bundle.pem"), "-trustout", "-out", &file("trusted.pem")]);
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=db", "-out", &file("request.pem")]);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &file("public.pem")]);
    readable(&files);
    for (name, words, password) in [
        ("encrypted.pem", "keys with a passphrase are not supported", true),
        ("encrypted.der", "keys with a passphrase are not supported", true),
        ("old.pem", "keys with a passphrase are not supported", true),
        ("set.p7b", "PKCS#7 is not supported", false),
        ("set.p7c", "PKCS#7 is not supported", false),
        ("trusted.pem", "no authority from a file that has only such certificates", false),
        ("request.pem", "an authority has to sign it first", false),
        ("public.pem", "a public key without a certificate", false),
    ] {
        let (status, text) = run(&[&files.join(name)], &[]);
        assert!(status == 1 && text.contains(words), "{name}: {text}");
        // The remedy is a command, and what it makes can be inspected.
        let Some((_, remedy)) = text.split_once("fix: ") else {
            assert!(["request.pem", "public.pem"].contains(&name), "{name}: {text}");
            continue;
        };
        let mut remedy = remedy.lines().next().unwrap().to_owned();
        let output = remedy.rsplit(' ').next().unwrap().to_owned();
        if password {
            remedy.push_str(" -passin pass:secret");
        }
        let directory = tempfile::tempdir().unwrap();
        let done =
            Command::new("sh").args(["-c", &remedy]).current_dir(&directory).output().unwrap();
        assert!(done.status.success(), "{remedy}: {done:?}");
        let converted = std::fs::read(directory.path().join(output)).unwrap();
        let items = pgsvid::material::reading::read(&converted);
        assert!(items.iter().any(Result::is_ok), "{remedy}: {items:?}");
    }
}

/// What comes out of YAML, JSON, `.env` files and Secrets, and an old label.
#[test]
fn f18_pem_that_something_has_wrapped_is_named_and_its_remedy_works() {
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new(ID).dns("db")).unwrap();
    let files = set(&svid);
    let (pem, root) = (svid.chain_pem(), authority.root_pem());
    let base64 = |bytes: &[u8]| {
        let text = pem_rfc7468::encode_string("X", pem_rfc7468::LineEnding::LF, bytes).unwrap();
        text.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n")
    };
    for (name, text, words) in [
        ("joined.pem", format!("{}{root}", pem.trim_end()), "is cut off or broken"),
        ("quoted.pem", format!("\"{pem}{root}\""), "OpenSSL skips"),
        ("escaped.pem", format!("\"{}\"", pem.replace('\n', "\\n")), "line ends are written as"),
        ("bare.pem", base64(svid.leaf()), "DER in base64"),
        ("secret.pem", base64(pem.as_bytes()), "encoded in base64 once more"),
    ] {
        let file = files.write(name, text, 0o600);
        let (status, text) = run(&[&file], &[]);
        assert!(status == 1 && text.contains(words), "{name}: {text}");
        let Some((_, remedy)) = text.split_once("fix: ") else {
            assert!(["joined.pem", "quoted.pem"].contains(&name), "{name}: {text}");
            continue;
        };
        let remedy = remedy.lines().next().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let done = Command::new("sh").args(["-c", remedy]).current_dir(&directory).status();
        assert!(done.unwrap().success(), "{remedy}");
        let output = directory.path().join(remedy.rsplit(' ').next().unwrap());
        let items = pgsvid::material::reading::read(&std::fs::read(output).unwrap());
        assert!(items.iter().all(Result::is_ok), "{remedy}: {items:?}");
    }
    let old = format!("{pem}{root}").replace("CERTIFICATE", "X509 CERTIFICATE");
    let (_, text) = run(&[&files.write("old.pem", old, 0o600)], &[]);
    assert!(!text.contains("not supported") && !text.contains("neither a certificate"), "{text}");
}

/// Neither CN nor DN: `clientname=DN` is no way out.
#[test]
fn f05_an_empty_subject_has_a_remedy_that_works() {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let id = "spiffe://example.org/db".try_into().unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(id)];
    let leaf = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let files = Directory::new();
    files.write("leaf.der", leaf.der(), 0o600);
    let (_, text) = run(&[&files.join("leaf.der")], &[]);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("the subject is empty") && flat.contains("-dns"), "{text}");
    assert!(!flat.contains("clientname=DN"), "{text}");
}

/// Hands what openssl wrote to the account that pgsvid runs as.
fn readable(files: &Directory) {
    for entry in std::fs::read_dir(files.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.write(&name, std::fs::read(&path).unwrap(), 0o600);
    }
}

/// Files that PostgreSQL loads: OpenSSL looks for the blocks that it needs.
#[test]
fn f70_blocks_that_openssl_skips_are_no_failure_beside_a_certificate() {
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new(ID).dns("db")).unwrap();
    let files = set(&svid);
    let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let commented = format!("# {}\n", block("CERTIFICATE").trim_end().replace('\n', "\n# "));
    for beside in [block("X509 CRL"), block("PUBLIC KEY"), block("SOMETHING ELSE"), commented] {
        let file = files.write("svid.pem", format!("{beside}{}", svid.chain_pem()), 0o644);
        openssl(&["x509", "-in", &shown(&file), "-noout"]);
        let (status, json) = run(&[Path::new("--format"), Path::new("json"), files.path()], &[]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(status, 0, "{beside}: {json:#}");
        assert_eq!(json["summary"]["skipped"], 1, "{beside}: {json:#}");
        // Alone it is no certificate.
        let alone = files.write("alone.pem", beside, 0o644);
        assert_eq!(run(&[&alone], &[]).0, 1);
        std::fs::remove_file(alone).unwrap();
    }
}
