//! The probe: whatever a server answers to SSLRequest, and in the handshake.
//!
//! The server's bytes are those of the input, or those of a real TLS server whose certificates and names of authorities
//! have edits, and whose bytes are tampered with on their way.

mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use pgsvid::doctor::View;
use pgsvid::material::{Certificate, Fingerprint, LeafName, workload_id};
use pgsvid::verify::{
    Answer, ClientSettings, Expected, Facts, Served, Verdict, alert_name, ask, judge,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::edits::Choices;
use super::seeds::{ID, SEEDS, now};
use super::texts::assert_presentable;
use server::Server;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// Longest reason that a probe may give, in characters.
const LONGEST_REASON: usize = 300;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.byte() % 4 {
        0 => at_once(choices.rest()),
        1 => in_turn(&mut choices),
        _ => handshake(&Server::new(&mut choices)),
    }
}

/// Everything is sent before anything is asked.
fn at_once(bytes: &[u8]) {
    let (answer, heard) = converse(async |mut stream: DuplexStream| {
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        heard(&mut stream).await
    });
    // Nobody can know what belongs into a handshake that has not begun.
    assert_eq!(heard, SSL_REQUEST, "{answer:?}");
    match (bytes, &answer) {
        ([b'N', ..], Answer::Plaintext) => {}
        ([b'N', ..], _) | (_, Answer::Plaintext | Answer::Served(_)) => panic!("{answer:?}"),
        (_, Answer::Refused(alert)) => assert_presentable(&alert_name(*alert)),
        (_, Answer::TooLarge) => {}
        (_, Answer::Nothing(why)) => assert_reason(why),
    }
}

/// An answer, and bytes in pieces once the client has begun TLS.
fn in_turn(choices: &mut Choices<'_>) {
    let first = choices.byte();
    let stays = choices.yes();
    let (answer, heard) = converse(async |mut stream: DuplexStream| {
        let _ = stream.write_u8(first).await;
        let mut heard_first = [0; 9];
        if stream.read_exact(&mut heard_first).await.is_ok() {
            while !choices.is_empty() {
                let _ = stream.write_all(choices.bytes()).await;
                tokio::task::yield_now().await;
            }
        }
        if !stays {
            let _ = stream.shutdown().await;
        }
        [heard_first.to_vec(), heard(&mut stream).await].concat()
    });
    assert_eq!(heard[..8], SSL_REQUEST);
    if first == b'S' {
        assert_eq!(heard[8], 0x16, "a TLS handshake record");
    }
    match (first, &answer) {
        (b'N', Answer::Plaintext) => {}
        // No input can sign what the client has just made up.
        (b'N', _) | (_, Answer::Plaintext | Answer::Served(_)) => panic!("{first} {answer:?}"),
        (_, Answer::Refused(alert)) => assert_presentable(&alert_name(*alert)),
        (_, Answer::TooLarge) => {}
        (_, Answer::Nothing(why)) => assert_reason(why),
    }
}

fn handshake(server: &Server) {
    let (answer, ()) = converse(|stream| server.serve(stream));
    match &answer {
        Answer::Served(shown) => {
            assert_eq!(shown.leaf.der(), server.chain[0], "another leaf than was sent");
            assert_eq!(shown.leaf.public_key(), server.public_key(), "possession is not proven");
            assert_eq!(shown.authorities, server.asks_for);
            assert_shown(shown);
        }
        Answer::Plaintext => panic!("it said S"),
        Answer::Refused(alert) => {
            assert!(!server.is_honest());
            assert_presentable(&alert_name(*alert));
        }
        Answer::TooLarge => assert!(!server.is_honest()),
        Answer::Nothing(why) => {
            assert!(!server.is_honest(), "{why}");
            assert_reason(why);
        }
    }
    assert_judged(answer);
}

/// Both sides, until both have ended. The clock jumps when nothing else is left to do, so that nothing can hang.
fn converse<T>(server: impl AsyncFnOnce(DuplexStream) -> T) -> (Answer, T) {
    thread_local! {
        static RUNTIME: Runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    }
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_secs(5);
            tokio::join!(ask(ours, deadline), server(theirs))
        })
    })
}

async fn heard(stream: &mut DuplexStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

#[track_caller]
fn assert_reason(why: &str) {
    assert_presentable(why);
    assert!(!why.is_empty() && why.chars().count() <= LONGEST_REASON, "{why}");
}

fn assert_shown(served: &Served) {
    for certificate in served.chain() {
        let view = View::of(certificate);
        view.lines(now())
            .iter()
            .chain(&view.short_lines(now()))
            .for_each(|line| assert_presentable(line));
        serde_json::to_string(&view).expect("JSON for scripts");
    }
    for name in served.authorities.iter().flatten() {
        assert_presentable(&pgsvid::material::name_for_people(name));
    }
}

fn assert_judged(answer: Answer) {
    let published = Fingerprint::of(&SEEDS.leaf.der);
    let root = Certificate::parse(&SEEDS.root.der).unwrap();
    let expected = Expected {
        leaf: published,
        intermediates: Vec::new(),
        name: LeafName::Spiffe(workload_id(ID).unwrap()),
        authorities: BTreeSet::from([root.subject().to_vec()]),
        earlier: Vec::new(),
        clients: ClientSettings::default(),
    };
    let facts = Facts { address: String::new(), answer };
    let verdict = judge(&facts, &expected, now());
    let served = match &facts.answer {
        Answer::Served(served) => Some(served),
        _ => None,
    };
    let is_published = served.is_some_and(|served| served.leaf.fingerprint() == published);
    match verdict {
        Verdict::Current | Verdict::OldAuthorities => assert!(is_published),
        Verdict::Unreachable => assert!(served.is_none()),
        Verdict::StillOld | Verdict::Foreign | Verdict::Expired => assert!(served.is_some()),
        Verdict::Unverifiable => assert!(matches!(facts.answer, Answer::Refused(_))),
        Verdict::Plaintext
        | Verdict::PasswordAsked
        | Verdict::Refused
        | Verdict::ServerUntrusted
        | Verdict::Unavailable
        | Verdict::Admitted
        | Verdict::HandedOver
        | Verdict::Standby => panic!("{verdict}"),
    }
}
