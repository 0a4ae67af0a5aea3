//! A56: an agent that renews nothing, but keeps sending; A60: an agent that meanwhile rejects the request.

use std::time::Duration;

use dev_agent::{Code, Misbehaviour, Status};
use pgsvid_proto::X509svidResponse;
use test_support::{Mark, eventually};

use crate::place::{LIMIT, Place, events, heal, published, said};

/// Short, so that a renewal is overdue after seven seconds; long enough for what is published not to expire meanwhile.
const TTL: Duration = Duration::from_secs(10);

#[test]
fn a56_pgsvid_reconnects_in_time_to_an_agent_that_sends_anything_but_a_newer_identity() {
    let first = |response: X509svidResponse| -> [(&str, Vec<X509svidResponse>); 4] {
        let mut rejected = response.clone();
        rejected.svids[0].x509_svid_key.clear();
        let mut another = response.clone();
        // The same leaf with other authorities is no renewal.
        another.svids[0]
            .bundle
            .extend(dev_agent::Authority::new("example.org", false).unwrap().root());
        [
            ("rejected", vec![rejected]),
            ("empty", vec![X509svidResponse::default()]),
            ("identical", vec![response.clone()]),
            ("other authorities", vec![another, response]),
        ]
    };
    for at in 0..4 {
        let place = Place::new();
        let agent = place.agent().ttl(TTL).start().unwrap();
        let pgsvid = place.run(&[]);
        let mark = published(&pgsvid, Mark::default(), 1);
        let (what, messages) = first(agent.response())[at].clone();
        let before = agent.activity().requests;
        let dialled = (0..60).any(|number| {
            agent.push(&messages[number % messages.len()]);
            let asked = agent.wait_until(Duration::from_millis(250), |now| now.requests > before);
            asked.is_ok()
        });
        assert!(dialled, "{what}");
        let (overdue, _) = said(&pgsvid, mark, "agent-overdue");
        assert_eq!(overdue["level"], "WARN", "{what}: {overdue}");
        // The agent that listens by now is heard.
        agent.rotate().unwrap();
        let newest = agent.svid();
        eventually(LIMIT, what, || place.holds(&newest));
        let expired = events(&pgsvid).into_iter().any(|event| {
            event["message"].as_str().is_some_and(|text| text.contains("has expired"))
        });
        assert!(!expired, "{what}");
    }
}

#[test]
fn a60_an_agent_that_calls_the_request_invalid_is_asked_again_before_the_identity_expires() {
    let place = Place::new();
    let agent = place.agent().ttl(TTL).start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let before = agent.activity().requests;
    let refusal = Status::new(Code::InvalidArgument, "on purpose");
    agent.misbehave_times(1, Misbehaviour::Refuse(refusal));
    agent.end_streams(None);
    let (event, mark) = said(&pgsvid, mark, "agent-refused");
    let next = event["next"].as_str().unwrap();
    assert!(next.ends_with("asking again in 6s") || next.ends_with("in 5s"), "{event}");
    agent.wait_until(LIMIT, |activity| activity.requests >= before + 2).unwrap();
    agent.rotate().unwrap();
    published(&pgsvid, mark, 2);
    heal(&agent);
}

#[test]
fn a60_a_hint_that_is_too_long_is_refused() {
    for (length, taken) in [(1024, true), (1025, false)] {
        let place = Place::new();
        let hint = "h".repeat(length);
        let entry = crate::place::workload().hint(hint);
        let agent = place.agent_without_entries().entry(entry).start().unwrap();
        let pgsvid = place.run(&[]);
        if taken {
            published(&pgsvid, Mark::default(), 1);
        } else {
            let (event, _) = said(&pgsvid, Mark::default(), "message-rejected");
            let reason = "the hint has 1025 bytes, more than the 1024 that are allowed";
            assert_eq!(event["reason"], reason, "{event}");
        }
        drop(agent);
    }
}
