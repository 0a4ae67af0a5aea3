//! A15: an agent that sends without end.

#![allow(clippy::print_stdout, reason = "the figures are what documents tell")]
#![allow(clippy::disallowed_methods, reason = "real processes run on the real clock")]

use std::time::{Duration, Instant};

use dev_agent::{DevAgent, Misbehaviour, framed};
use prost::Message as _;
use test_support::Mark;

use crate::place::{LIMIT, Place, count, heal, published, said};

#[test]
fn a15_an_agent_that_floods_costs_a_part_of_a_processor() {
    let place = Place::new();
    let svid = place.agent().start().unwrap().response();
    let mut malformed = svid.clone();
    malformed.svids[0].x509_svid.push(0);
    let mut large = svid.clone();
    large.svids[0].bundle = large.svids[0].bundle.repeat(1000);
    for (what, bytes) in [
        ("messages", framed(&svid.encode_to_vec())),
        ("large messages", framed(&large.encode_to_vec())),
        ("malformed messages", framed(&malformed.encode_to_vec())),
        ("empty messages", vec![0; 5 * 3000]),
        ("absurd messages", framed(&[1 << 3 | 2, 0].repeat(2_000_000))),
    ] {
        let place = Place::new();
        let agent = place.agent().automatic(true).ttl(Duration::from_secs(2)).start().unwrap();
        agent.misbehave(Misbehaviour::Flood(bytes));
        let pgsvid = place.run(&["--log-level", "info"]);
        renewals(&agent, 1);
        let (before, begun) = (pgsvid.process().work(), Instant::now());
        let sent = agent.activity().messages;
        renewals(&agent, 6);
        let (busy, passed) = (pgsvid.process().work().since(before).busy, begun.elapsed());
        let sent = agent.activity().messages - sent;
        println!("a15: {what}: busy for {busy:?} of {passed:?}, with {sent} of them");
        // What it may use at once, and twice its share.
        let most = Duration::from_millis(500) + passed / 5;
        assert!(busy < most, "{what}: busy for {busy:?} of {passed:?}");
        // It has missed nothing.
        agent.behave();
        agent.drop_connections();
        place.wait_for_current(&agent);
    }
}

#[test]
fn a15_an_agent_that_never_says_the_same_does_not_fill_the_log() {
    let place = Place::new();
    let mut message = place.agent().start().unwrap().response();
    let mut flood = Vec::new();
    for number in 0..300 {
        message.svids[0].spiffe_id = format!("spiffe://example.org/{number}");
        flood.extend(framed(&message.encode_to_vec()));
    }
    let agent = place.agent().start().unwrap();
    agent.misbehave(Misbehaviour::Flood(flood));
    let pgsvid = place.run(&["--log-level", "info"]);
    let (_, mark) = said(&pgsvid, Mark::default(), "agent-lines-limited");
    let before = agent.activity().messages;
    agent.wait_until(LIMIT, |activity| activity.messages >= before + 30).unwrap();
    let lines = pgsvid.lines_after(mark).len();
    assert!(lines < 20, "{lines} lines");
    assert!(count(&pgsvid, "message-rejected") < 60);
    heal(&agent);
    published(&pgsvid, mark, 1);
}

/// Waits for so many renewals: they are the clock.
fn renewals(agent: &DevAgent, number: u64) {
    let issued = agent.activity().issued + number;
    agent.wait_until(LIMIT, |activity| activity.issued >= issued).unwrap();
}
