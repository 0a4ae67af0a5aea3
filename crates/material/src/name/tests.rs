//! Names as OpenSSL prints them; the tests run `openssl` itself.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use dev_agent::{Authority, Entry};

use super::attributes::SHORT_NAMES;
use super::*;
use crate::Certificate;

const UTF8: u8 = 12;
const NUMERIC: u8 = 18;
const PRINTABLE: u8 = 19;
const T61: u8 = 20;
const IA5: u8 = 22;
const UNIVERSAL: u8 = 28;
const BMP: u8 = 30;
const BIT_STRING: u8 = 3;

/// An attribute: object identifier, tag and bytes of the value.
type Attribute<'a> = (&'a str, u8, &'a [u8]);

fn leaf(entry: &Entry) -> Certificate {
    let svid = Authority::new("example.org", false).unwrap().issue(entry).unwrap();
    Certificate::parse(svid.leaf()).unwrap()
}

#[test]
fn names_are_those_of_pg_ident() {
    let foo = || Entry::new("spiffe://example.org/foo");
    assert_eq!(leaf(&foo()).distinguished_name(), "O=SPIRE,C=US");
    assert_eq!(leaf(&foo()).common_name(), None);
    let named = leaf(&foo().dns("dbclient"));
    assert_eq!(named.distinguished_name(), "CN=dbclient,O=SPIRE,C=US");
    assert_eq!(named.common_name().as_deref(), Some("dbclient"));
    assert_eq!(named.subject_text(), "C=US, O=SPIRE, CN=dbclient");
    // SPIRE's composer gives this ID this identifier.
    assert_eq!(
        leaf(&foo().dns("dbclient").unique_id(true)).distinguished_name(),
        "x500UniqueIdentifier=c3406f9b12ceb4f9c948318c579b905b,CN=dbclient,O=SPIRE,C=US"
    );
}

#[test]
fn odd_names_are_printed_as_openssl_prints_them() {
    let cn = "2.5.4.3";
    for value in [
        "plain",
        "a,b",
        "a+b",
        "a=b",
        "a;b",
        "a<b>c",
        "a\"b",
        "a\\b",
        " a",
        "a ",
        "  a  ",
        " ",
        "  ",
        "#",
        "#a",
        "##",
        "a#",
        "é",
        "日本",
        "😀",
        "a\tb\nc",
        "\x7f",
        "a/b",
        "/a",
        "a|b",
        "'",
        "",
        "\u{202e}abc",
        "x\u{0}y",
    ] {
        assert_as_openssl(&[&[(cn, UTF8, value.as_bytes())]]);
    }
    let texts: [Attribute<'_>; 13] = [
        (cn, PRINTABLE, b"a b"),
        (cn, PRINTABLE, b"not@printable\xe9"),
        (cn, NUMERIC, b"12 3"),
        (cn, T61, b"M\xfcller, \x80"),
        (cn, IA5, b"a@b"),
        (cn, IA5, b"\xff"),
        (cn, BMP, b"\x00a\x00,\x20\xac"),
        (cn, BMP, b"\x00#"),
        (cn, UNIVERSAL, b"\x00\x00\x00a\x00\x01\xf6\x00"),
        ("2.5.4.45", BIT_STRING, b"\x00\xab\xcd"),
        ("2.5.4.45", PRINTABLE, b"c3406f9b12ceb4f9c948318c579b905b"),
        ("1.2.3.4", UTF8, "unknown é,".as_bytes()),
        ("1.2.3.4", BIT_STRING, b"\x00"),
    ];
    for attribute in texts {
        assert_as_openssl(&[&[attribute]]);
    }
    let (a, b, c) =
        (("2.5.4.6", PRINTABLE, &b"US"[..]), (cn, UTF8, &b"x+y"[..]), ("1.2.3.4", UTF8, &b"z"[..]));
    assert_as_openssl(&[]);
    assert_as_openssl(&[&[a], &[b], &[c]]);
    assert_as_openssl(&[&[a, b], &[c]]);
    assert_as_openssl(&[&[a], &[b, c, ("2.5.4.10", UTF8, b"o")]]);
}

#[test]
fn short_names_are_openssls() {
    // Each in its own test: builds of OpenSSL know more or fewer of the later ones.
    let attributes: Vec<Attribute<'_>> =
        SHORT_NAMES.iter().map(|(oid, _)| (*oid, UTF8, &b"x"[..])).collect();
    let rdns: Vec<&[Attribute<'_>]> = attributes.iter().map(std::slice::from_ref).collect();
    let theirs = openssl(&name(&rdns));
    let ours = distinguished_name(&name(&rdns));
    let differing: Vec<_> = ours
        .split(',')
        .zip(theirs.split(','))
        .filter(|(ours, theirs)| ours != theirs && !theirs.contains("=#"))
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert_eq!(ours.split(',').count(), theirs.split(',').count());
}

#[test]
fn random_names_are_printed_as_openssl_prints_them() {
    let mut random = fastrand::Rng::with_seed(4);
    let characters: Vec<char> = " #,+\"\\<>;=/aZ9é日😀\t".chars().collect();
    for _ in 0..60 {
        let values: Vec<(usize, u8, Vec<u8>)> = (0..random.usize(1..6))
            .map(|_| {
                let text: Vec<char> = (0..random.usize(0..6))
                    .map(|_| characters[random.usize(..characters.len())])
                    .collect();
                let oid = random.usize(..SHORT_NAMES.len() / 2);
                match random.u8(..3) {
                    0 => {
                        let code =
                            |c: &char| u16::try_from(u32::from(*c)).unwrap_or(0x20).to_be_bytes();
                        (oid, BMP, text.iter().flat_map(code).collect())
                    }
                    1 => {
                        let code = |c: &char| u8::try_from(u32::from(*c)).unwrap_or(0x20);
                        (oid, T61, text.iter().map(code).collect())
                    }
                    _ => (oid, UTF8, text.iter().collect::<String>().into_bytes()),
                }
            })
            .collect();
        let attributes: Vec<Attribute<'_>> = values
            .iter()
            .map(|(oid, tag, value)| (SHORT_NAMES[*oid].0, *tag, value.as_slice()))
            .collect();
        let split = random.usize(..=attributes.len());
        let (first, second) = attributes.split_at(split);
        let rdns: Vec<&[Attribute<'_>]> =
            [first, second].into_iter().filter(|rdn| !rdn.is_empty()).collect();
        assert_as_openssl(&rdns);
    }
}

#[test]
fn mutated_names_never_panic() {
    let mut random = fastrand::Rng::with_seed(5);
    let rdn: &[Attribute<'_>] =
        &[("2.5.4.3", UTF8, b"some name"), ("2.5.4.45", BMP, b"\x00a\x00b")];
    let good = name(&[rdn, &[("1.2.3.4", T61, b"\xff\x00")]]);
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        let _ = (
            distinguished_name(&bytes),
            common_name(&bytes),
            unique_identifier(&bytes),
            for_people(&bytes),
        );
    }
}

#[track_caller]
fn assert_as_openssl(rdns: &[&[Attribute<'_>]]) {
    let name = name(rdns);
    assert_eq!(distinguished_name(&name), openssl(&name), "{rdns:?}");
}

/// What `openssl x509` prints for a certificate with this subject.
fn openssl(subject: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(["x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed: PostgreSQL needs its library");
    child.stdin.take().unwrap().write_all(&certificate(subject)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{subject:x?}: {}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).unwrap();
    line.strip_prefix("subject=").unwrap().strip_suffix('\n').unwrap().to_owned()
}

/// A certificate with this subject and a meaningless signature.
fn certificate(subject: &[u8]) -> Vec<u8> {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let key =
        KEY.get_or_init(|| leaf(&Entry::new("spiffe://example.org/foo")).public_key().to_vec());
    let algorithm = tlv(0x30, &[&oid("1.2.840.10045.4.3.2")]);
    let time = tlv(0x17, &[b"260101000000Z"]);
    let validity = tlv(0x30, &[&time, &time]);
    let issuer = name(&[&[("2.5.4.3", UTF8, b"issuer")]]);
    let body = tlv(0x30, &[&tlv(2, &[&[1]]), &algorithm, &issuer, &validity, subject, key]);
    tlv(0x30, &[&body, &algorithm, &tlv(3, &[&[0, 0]])])
}

fn name(rdns: &[&[Attribute<'_>]]) -> Vec<u8> {
    let rdns: Vec<Vec<u8>> = rdns
        .iter()
        .map(|rdn| {
            let mut attributes: Vec<Vec<u8>> = rdn
                .iter()
                .map(|(kind, tag, value)| tlv(0x30, &[&oid(kind), &tlv(*tag, &[value])]))
                .collect();
            // DER: the members of a SET are sorted.
            attributes.sort();
            tlv(0x31, &[&attributes.concat()])
        })
        .collect();
    tlv(0x30, &[&rdns.concat()])
}

fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u32> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut bytes = Vec::new();
    for arc in [&[arcs[0] * 40 + arcs[1]], &arcs[2..]].concat() {
        let groups = (arc.checked_ilog2().unwrap_or(0) / 7).clamp(0, 4);
        for group in (0..=groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            bytes.push(u8::try_from(arc >> (7 * group) & 0x7f).unwrap() | more);
        }
    }
    tlv(6, &[&bytes])
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![tag];
    match content.len() {
        short @ ..0x80 => bytes.push(u8::try_from(short).unwrap()),
        long => {
            let length = u16::try_from(long).unwrap().to_be_bytes();
            bytes.extend([0x82, length[0], length[1]]);
        }
    }
    bytes.extend(content);
    bytes
}

#[test]
fn b03_an_empty_rdn_makes_no_other_name() {
    // SEQUENCE { SET { SEQUENCE { CN, UTF8String } }, … }
    let common_name =
        [&[0x31, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x04, 0x03, UTF8, 0x03][..], b"ca1"];
    let common_name = common_name.concat();
    let name = |parts: &[&[u8]]| {
        let content = parts.concat();
        [&[0x30, u8::try_from(content.len()).unwrap()][..], &content].concat()
    };
    let plain = comparable(&name(&[&common_name]));
    let empty: &[u8] = &[0x31, 0];
    for with in [name(&[empty, &common_name]), name(&[&common_name, empty, empty])] {
        assert_eq!(comparable(&with), plain);
    }
    assert_ne!(comparable(&name(&[&common_name, &common_name])), plain);
}

/// OpenSSL sets unused bits to 0, and prints them so.
#[test]
fn b48_an_unused_bit_of_a_bit_string_is_written_as_openssl_has_it() {
    let named = |content: &[u8]| {
        let attribute = tlv(0x30, &[&oid("2.5.4.11"), &tlv(3, &[content])]);
        tlv(0x30, &[&tlv(0x31, &[&attribute])])
    };
    let (junk, clean) = (named(&[1, 0x7f]), named(&[1, 0x7e]));
    assert_eq!(distinguished_name(&junk), "OU=#0302017E");
    assert_eq!(distinguished_name(&junk), distinguished_name(&clean));
    assert_eq!(comparable(&junk), comparable(&clean));
    assert_ne!(comparable(&named(&[0, 0x7e])), comparable(&clean));
}
