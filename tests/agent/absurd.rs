//! A14: messages that are small on the wire, or as large as they may be, and would be enormous in memory.

#![allow(clippy::print_stdout, reason = "the figures are what documents tell")]

use dev_agent::{Entry, Misbehaviour, framed};
use pgsvid_proto::{X509svid, X509svidResponse};
use prost::Message as _;
use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};
use test_support::{Program, eventually};

use crate::place::{ID, LIMIT, Place, said};

/// As large as a message may be.
const MESSAGE: usize = 4 << 20;
/// What a message may add to what the idle daemon has, in KiB: that is 5.4 MiB, and a pod has 32.
pub(crate) const MOST: u64 = 10 * 1024;

#[test]
fn a14_an_absurd_message_takes_no_more_memory_than_a_large_one() {
    let svid = issued();
    let of =
        |chain: Vec<u8>, bundle: Vec<u8>| X509svid { x509_svid: chain, bundle, ..svid.clone() };
    let message = |svid: X509svid| X509svidResponse { svids: vec![svid], ..Default::default() };
    let federated = |bundle: Vec<u8>| X509svidResponse {
        federated_bundles: [("other.org".to_owned(), bundle)].into(),
        ..message(svid.clone())
    };
    let field = |number: u8| repeated(&[number << 3 | 2, 0]);
    let (names, subject) = (of_many_names(), of_a_long_subject());
    let filled = |certificate: &[u8]| certificate.repeat((MESSAGE - 4096) / certificate.len());
    let sequences = repeated(&[0x30, 0]);
    for (what, bytes) in [
        ("empty SVIDs", field(1)),
        ("empty revocation lists", field(2)),
        ("empty federated bundles", field(3)),
        ("federated bundles", entries()),
        ("SVIDs with a hint", repeated(&[1 << 3 | 2, 3, 5 << 3 | 2, 1, b'a'])),
        ("unknown fields", field(15)),
        ("unknown numbers", repeated(&[15 << 3, 1])),
        ("unknown fields within an SVID", within(1, &repeated(&[15 << 3 | 2, 0]))),
        ("hints within an SVID", within(1, &repeated(&[5 << 3 | 2, 0]))),
        ("domains within an entry", within(3, &repeated(&[1 << 3 | 2, 0]))),
        ("groups", repeated(&[15 << 3 | 3, 15 << 3 | 4])),
        ("nested groups", repeated(&[15 << 3 | 3])),
        ("one list of everything", within(2, &vec![0; MESSAGE - 64])),
        (
            "a bundle of empty sequences",
            message(of(svid.x509_svid.clone(), sequences.clone())).encode_to_vec(),
        ),
        (
            "a chain of empty sequences",
            message(of(sequences.clone(), svid.bundle.clone())).encode_to_vec(),
        ),
        ("a chain of names", message(of(filled(&names), svid.bundle.clone())).encode_to_vec()),
        ("sixteen of names", message(of(names.repeat(16), svid.bundle.clone())).encode_to_vec()),
        ("four of names", message(of(names.repeat(4), svid.bundle.clone())).encode_to_vec()),
        ("a bundle of names", message(of(svid.x509_svid.clone(), filled(&names))).encode_to_vec()),
        (
            "a bundle of subjects",
            message(of(svid.x509_svid.clone(), filled(&subject))).encode_to_vec(),
        ),
        (
            "a MiB of subjects",
            message(of(svid.x509_svid.clone(), subject.repeat(16))).encode_to_vec(),
        ),
        ("a MiB of names", message(of(svid.x509_svid.clone(), names.repeat(16))).encode_to_vec()),
        ("federated names", spoiled(federated(filled(&names)))),
        ("federated subjects", spoiled(federated(filled(&subject)))),
        ("a MiB of federated subjects", spoiled(federated(subject.repeat(16)))),
        (
            "a MiB of federated authorities",
            spoiled(federated(svid.bundle.repeat(1 << 20)[..1 << 20].to_vec())),
        ),
    ] {
        assert!(bytes.len() <= MESSAGE, "{what}: {}", bytes.len());
        let place = Place::new();
        let agent = place.agent().misbehaviour(Misbehaviour::Silent).start().unwrap();
        let pgsvid = place.run_with("[files]\nfederated_bundles = true\n");
        agent.wait_until(LIMIT, |activity| activity.connections == 1).unwrap();
        let before = at_rest(&pgsvid);
        agent.misbehave(Misbehaviour::Bytes(framed(&bytes)));
        agent.drop_connections();
        said(&pgsvid, test_support::Mark::default(), "message-rejected");
        let grown = peak(&pgsvid) - before;
        println!("a14: {what}: {grown} KiB more than {before}");
        assert!(grown < MOST, "{what}: {grown} KiB more than {before}");
        assert!(place.is_empty() && pgsvid.is_running());
    }
}

/// An SVID as the agent issues it.
fn issued() -> X509svid {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    agent.issue(&Entry::new(ID)).unwrap().to_message()
}

/// As often as a message has room for.
fn repeated(piece: &[u8]) -> Vec<u8> {
    piece.repeat((MESSAGE - 4096) / piece.len())
}

/// One field with these bytes.
fn within(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
    [&field, bytes].concat()
}

/// Federated bundles of different trust domains.
fn entries() -> Vec<u8> {
    let entry = |number: usize| {
        let domain = format!("{number:06}");
        within(3, &within(1, domain.as_bytes()))
    };
    (0..(MESSAGE - 4096) / 10).flat_map(entry).collect()
}

/// A message whose only SVID is refused after the federated bundles were read: its chain is.
fn spoiled(mut message: X509svidResponse) -> Vec<u8> {
    message.svids[0].x509_svid.push(0);
    message.encode_to_vec()
}

/// A certificate as large as one may be, of names as short as they may be.
fn of_many_names() -> Vec<u8> {
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names =
        (0..15_000).map(|_| SanType::URI("a".try_into().unwrap())).collect();
    signed(&parameters)
}

/// A certificate as large as one may be, of attributes that are long in words.
fn of_a_long_subject() -> Vec<u8> {
    let mut parameters = CertificateParams::default();
    for number in 0..2300 {
        let kind = DnType::CustomDnType(vec![2, 5, 4, 100 + number]);
        parameters.distinguished_name.push(kind, DnValue::Utf8String("\u{1}".to_owned()));
    }
    signed(&parameters)
}

fn signed(parameters: &CertificateParams) -> Vec<u8> {
    let der = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    assert!((40 << 10..64 << 10).contains(&der.len()), "{} bytes", der.len());
    der
}

/// Resident memory in KiB, once two looks at it are the same; the peak counts from here.
pub(crate) fn at_rest(pgsvid: &Program) -> u64 {
    let mut last = 0;
    eventually(LIMIT, "its memory keeps still", || {
        let before = std::mem::replace(&mut last, pgsvid.process().resident());
        before == last
    });
    // 5 resets the peak (proc(5), clear_refs).
    rustix::fs::open(
        format!("/proc/{}/clear_refs", pgsvid.daemon_pid()),
        rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::empty(),
    )
    .and_then(|file| rustix::io::write(&file, b"5"))
    .unwrap();
    last
}

pub(crate) fn peak(pgsvid: &Program) -> u64 {
    crate::volume::peak_memory(pgsvid)
}
