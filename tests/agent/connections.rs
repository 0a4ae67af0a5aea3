//! A14, A15: an agent that abuses HTTP/2 itself.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use dev_agent::{DevAgent, Misbehaviour};
use pgsvid_proto::X509svidResponse;
use prost::Message as _;
use test_support::Mark;

use crate::absurd::{MOST, at_rest, peak};
use crate::place::{LIMIT, Place, events, said};
use crate::raw::{ACK, COMPLETE, HEADERS, PING, answer, asked, flood, frame, greeting, listen};

#[test]
fn a15_what_libraries_say_of_an_agents_frames_is_not_logged() {
    let place = Place::new();
    let pings = frame(PING, ACK, 0, &[7; 8]).repeat(1000);
    // Data of no stream: they end the connection.
    let bytes = [greeting(), pings, frame(0, 0, 0, &[0; 8])].concat();
    let _agent = place.agent().misbehaviour(Misbehaviour::Speak(bytes)).start().unwrap();
    let pgsvid = place.run(&["--log-level", "info"]);
    said(&pgsvid, Mark::default(), "agent-disconnected");
    for event in events(&pgsvid) {
        assert!(event["target"].as_str().unwrap().starts_with("pgsvid"), "{event}");
    }
}

#[test]
fn a15_a_connection_ends_with_its_stream_though_the_agent_reads_nothing() {
    let message = message();
    let place = Place::new();
    let listener = listen(&place.socket());
    let _pgsvid = place.run(&[]);
    let (closed, is_closed) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = asked(&listener);
        stream.write_all(&[greeting(), answer(&message)].concat()).unwrap();
        // Each wants an answer, for which there is no room before long.
        flood(&mut stream, &frame(PING, 0, 0, &[7; 8]).repeat(1000));
        let _ = closed.send(());
        // It is still there for the next connections.
        drop(listener);
    });
    is_closed.recv_timeout(LIMIT).expect("the connection is closed");
}

#[test]
fn a15_a_socket_that_is_recreated_for_each_connection_causes_no_burst_of_connections() {
    let clock = Place::new();
    let clock = clock.agent().automatic(true).ttl(Duration::from_secs(4)).start().unwrap();
    let place = Place::new();
    let accepted = Arc::new(AtomicUsize::new(0));
    let (path, new) = (place.socket(), place.socket().with_extension("new"));
    let counted = Arc::clone(&accepted);
    let bind = move || {
        let listener = listen(&new);
        std::fs::rename(&new, &path).unwrap();
        listener
    };
    let mut listener = bind();
    std::thread::spawn(move || {
        while let Ok(stream) = listener.accept() {
            listener = bind();
            drop(stream);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let _pgsvid = place.run(&["--log-level", "info"]);
    renewals(&clock, 1);
    let before = accepted.load(Ordering::Relaxed);
    renewals(&clock, 3);
    let dialled = accepted.load(Ordering::Relaxed) - before;
    assert!(dialled < 25, "{dialled} connections");
}

#[test]
fn a14_interim_answers_without_end_take_no_memory() {
    let place = Place::new();
    let listener = listen(&place.socket());
    let pgsvid = place.run(&[]);
    let mut stream = asked(&listener);
    let before = at_rest(&pgsvid);
    // The first puts `a: b` into the table, the others repeat it from there, a byte each time (RFC 7541).
    let status = [8, 3, b'1', b'0', b'3'];
    let first = [&status[..], &[0x40, 1, b'a', 1, b'b']].concat();
    let next = [&status[..], &[0xbe; 400]].concat();
    let first = [greeting(), frame(HEADERS, COMPLETE, 1, &first)].concat();
    stream.write_all(&first).unwrap();
    flood(&mut stream, &frame(HEADERS, COMPLETE, 1, &next).repeat(100));
    let grown = peak(&pgsvid) - before;
    assert!(grown < MOST, "{grown} KiB more than {before}");
}

/// A good message, of another agent.
fn message() -> Vec<u8> {
    let response: X509svidResponse = Place::new().agent().start().unwrap().response();
    response.encode_to_vec()
}

/// Waits for so many renewals: they are the clock.
fn renewals(agent: &DevAgent, number: u64) {
    let issued = agent.activity().issued + number;
    agent.wait_until(LIMIT, |activity| activity.issued >= issued).unwrap();
}
