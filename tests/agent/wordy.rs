//! A59: texts of an agent that are as long as a message: in its certificates, names and answers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use dev_agent::{Entry, Misbehaviour, Status};
use pgsvid_proto::X509svidResponse;
use test_support::Mark;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::place::{Place, events, said};

/// Longest line that may come of it, in bytes: a text of 1000 characters, escaped, and what stands around it.
const MOST: usize = 4096;

#[test]
fn a59_no_text_of_an_agents_makes_a_long_line() {
    let long = "x".repeat(100_000);
    let place = Place::new();
    let usual = place.agent().start().unwrap().response();
    let of = |change: &dyn Fn(&mut X509svidResponse)| {
        let mut message = usual.clone();
        change(&mut message);
        Misbehaviour::Reply(vec![message])
    };
    for (what, wanted, misbehaviour) in [
        (
            "signature algorithm",
            "message-rejected",
            of(&|message| {
                let leaf = &mut message.svids[0].x509_svid;
                *leaf = with_a_long_algorithm(leaf);
            }),
        ),
        ("SPIFFE ID", "message-rejected", of(&|message| message.svids[0].spiffe_id = long.clone())),
        (
            "long SPIFFE ID of another workload",
            "message-rejected",
            of(&|message| {
                message.svids[0].spiffe_id = format!("spiffe://example.org/{}", &long[..2000]);
            }),
        ),
        ("hint", "message-rejected", of(&|message| message.svids[0].hint = long.clone())),
        (
            "status",
            "agent-disconnected",
            // As much as HTTP/2 has room for in its trailers.
            Misbehaviour::Refuse(Status::unavailable(&long[..8000])),
        ),
    ] {
        let place = Place::new();
        let agent = place.agent().misbehaviour(misbehaviour).start().unwrap();
        let socket = place.svids.with_file_name("health.sock");
        let pgsvid = place.run_with(&format!("health.listen = 'unix:{}'", socket.display()));
        said(&pgsvid, Mark::default(), wanted);
        for line in pgsvid.lines() {
            assert!(line.len() < MOST, "{what}: a line of {} bytes", line.len());
        }
        for page in ["/", "/status", "/readyz"] {
            let size = fetched(&socket, page);
            assert!((1..4 * MOST).contains(&size), "{what}: {page} has {size} bytes");
        }
        drop(agent);
    }
}

#[test]
fn a66_the_line_about_an_identity_is_short_with_any_id_and_hint() {
    let place = Place::new();
    let id = format!("spiffe://example.org/{}", "x".repeat(2000));
    let entry = Entry::new(&id).hint("\u{10ffff}".repeat(250));
    let agent = place.agent_without_entries().entry(entry).start().unwrap();
    let pgsvid = place.run(&[]);
    said(&pgsvid, Mark::default(), "published");
    agent.remove_entries();
    let withdrawn = said(&pgsvid, Mark::default(), "identity-withdrawn").0;
    assert!(withdrawn["spiffe_id"].as_str().unwrap().starts_with(&id[..500]), "{withdrawn}");
    assert_eq!(events(&pgsvid).iter().filter(|event| event["hint"].is_string()).count(), 1);
    for line in pgsvid.lines() {
        assert!(line.len() < 1200, "a line of {} bytes: {line}", line.len());
    }
}

/// How much is answered.
fn fetched(socket: &Path, page: &str) -> usize {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap()
}

/// The certificate with parameters of 20,000 bytes in both of its signature algorithms.
fn with_a_long_algorithm(certificate: &[u8]) -> Vec<u8> {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let to_be_signed = parsed.tbs_certificate.as_ref();
    // ecdsa-with-SHA256
    let identifier = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let usual = element(0x30, &identifier);
    let long = element(0x30, &[&identifier[..], &element(4, &vec![0xff; 20_000])].concat());
    let at = to_be_signed.windows(usual.len()).position(|window| window == usual).unwrap();
    let content = [&to_be_signed[4..at], &long, &to_be_signed[at + usual.len()..]].concat();
    let signature = [&[0], parsed.signature_value.as_ref()].concat();
    element(0x30, &[element(0x30, &content), long, element(3, &signature)].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = if length < 128 {
        vec![tag, u8::try_from(length).unwrap()]
    } else {
        let [.., high, low] = length.to_be_bytes();
        vec![tag, 0x82, high, low]
    };
    [head, content.to_vec()].concat()
}
