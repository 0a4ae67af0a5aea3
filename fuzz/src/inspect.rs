//! `pgsvid inspect`: files in PEM or DER, whatever they hold.
//!
//! The files are the bytes of the input, or valid ones with edits. Certificates are edited beneath their signatures, too.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use pgsvid::doctor::inspect::{Request, inspect};
use pgsvid::material::pkcs12::{self, Password};
use pgsvid::material::reading::{self, Item};
use pgsvid::material::{Certificate, Details, PrivateKey, key_kind, pem};
use serde_json::Value;
use tempfile::TempDir;

use super::edits::Choices;
use super::seeds::{SEEDS, Signed, now};
use super::texts::{assert_presentable, assert_presentable_lines};

const MOST_EDITS: usize = 16;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let files = if choices.yes() { edited(&mut choices) } else { vec![choices.rest().to_vec()] };
    for bytes in &files {
        assert_read_twice_alike(bytes);
    }

    let request = write(&files);
    let found = inspect(&request, now());
    let text = found.text(false);
    assert_presentable_lines(&text);
    assert_eq!(without_colours(&found.text(true)), text);
    let json: Value = serde_json::from_str(&found.json()).expect("JSON for scripts");
    let shown = json["files"].as_array().expect("an entry for each file");
    assert_eq!(shown.len(), files.len());
    let mut unreadable = 0;
    for (file, bytes) in shown.iter().zip(&files) {
        let items = file["items"].as_array().expect("items");
        assert_eq!(items.len(), reading::read_stores(bytes, None).len());
        unreadable += items.iter().filter(|item| item["kind"] == "unreadable").count();
    }
    // Every file was named, so what cannot be read is a failure.
    assert!(found.has_failures() || unreadable == 0, "{text}");
    assert_eq!(found.has_failures(), json["summary"]["failure"] != 0);
}

/// Everything on disk has to be written somewhere; the same few files serve every input.
fn write(files: &[Vec<u8>]) -> Request {
    static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let paths: Vec<PathBuf> =
        (0..files.len()).map(|number| DIRECTORY.path().join(number.to_string())).collect();
    for (path, bytes) in paths.iter().zip(files) {
        File::create(path).and_then(|mut file| file.write_all(bytes)).unwrap();
    }
    Request { paths, bundle: None, password: None }
}

/// A PKCS#12 with a key and its chain.
static STORE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let chain = [&SEEDS.leaf, &SEEDS.intermediate].map(|it| it.signed_anew(&it.to_be_signed()));
    let chain = chain.iter().filter_map(|der| Certificate::parse(der).ok());
    let chain: Vec<Certificate> = chain.collect();
    let key = PrivateKey::new(SEEDS.leaf.key.clone().into());
    let password = Password::parse(b"secret").unwrap();
    pkcs12::key_store(&chain, &key, "user", &password).unwrap().to_vec()
});

/// Chain, key and bundle, each in PEM or DER, and perhaps a PKCS#12.
fn edited(choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
    let shape = choices.byte();
    let has = |bit: u8| shape & 1 << bit != 0;
    let signed = if has(0) { &SEEDS.lower_leaf } else { &SEEDS.leaf };
    let mut ders = [signed, &SEEDS.intermediate, &SEEDS.root].map(Signed::to_be_signed);
    let mut key = signed.key.clone();
    let mut later = Vec::new();
    while !choices.is_empty() && later.len() < MOST_EDITS {
        let part = choices.byte() % 8;
        let edit = choices.edit();
        match part {
            0..3 => edit.apply(&mut ders[usize::from(part)]),
            3 => edit.apply(&mut key),
            _ => later.push((part, edit)),
        }
    }
    let [leaf, intermediate, root] = &ders;
    let [leaf, intermediate, root] =
        [(signed, leaf), (&SEEDS.intermediate, intermediate), (&SEEDS.root, root)]
            .map(|(signed, inner)| signed.signed_anew(inner));
    let certificates = |ders: &[&[u8]]| {
        let block = |der: &&[u8]| block("CERTIFICATE", der);
        if has(1) { ders.concat() } else { ders.iter().flat_map(block).collect() }
    };
    let chain = if has(0) { vec![leaf.as_slice(), &intermediate] } else { vec![leaf.as_slice()] };
    let key = if has(2) { key } else { block(label(shape), &key) };
    let mut files = vec![certificates(&chain), key, certificates(&[&root])];
    if has(4) {
        files.push(STORE.clone());
    }
    let count = files.len();
    for (part, edit) in &later {
        edit.apply(&mut files[usize::from(*part) % count]);
    }
    if has(3) { vec![files.concat()] } else { files }
}

/// A label, not always the one that the content deserves.
fn label(shape: u8) -> &'static str {
    ["PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"][usize::from(shape >> 6)]
}

fn block(label: &str, der: &[u8]) -> Vec<u8> {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap().into_bytes()
}

/// A certificate that was read is the same when it is read again from its DER, and from our PEM of it.
fn assert_read_twice_alike(bytes: &[u8]) {
    // Without a password nothing is hashed, however often a store asks for that.
    let items = reading::read_stores(bytes, None);
    assert!(!items.is_empty());
    for item in items {
        match item {
            Ok(Item::Certificate(certificate)) => assert_same_again(&certificate),
            Ok(Item::Key { public_key, .. }) => {
                // Only kinds that a server of ours could use are read.
                let kind = key_kind(&public_key);
                let known =
                    ["EC P-256", "EC P-384", "EC P-521", "Ed25519"].contains(&kind.as_str());
                assert!(known || kind.starts_with("RSA "), "{kind}");
            }
            Ok(Item::Store(facts)) => assert!(facts.trusted <= facts.certificates),
            Err(why) => assert_presentable(&why.to_string()),
        }
    }
}

fn assert_same_again(certificate: &Certificate) {
    let text = pem::encode_certificates([certificate]);
    assert_eq!(pem::decode_certificates(&text).unwrap(), std::slice::from_ref(certificate));
    for bytes in [&text, certificate.der()] {
        match reading::read(bytes).as_slice() {
            [Ok(Item::Certificate(again))] => {
                assert_eq!(again.der(), certificate.der());
                assert_eq!(again.uris(), certificate.uris());
                assert_eq!(again.not_after(), certificate.not_after());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_presentable(&certificate.subject_text());
    assert_presentable(&certificate.distinguished_name());
    assert_presentable(&Details::of(certificate).issuer);
}

fn without_colours(text: &str) -> String {
    ["\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
        .iter()
        .fold(text.to_owned(), |text, code| text.replace(code, ""))
}
