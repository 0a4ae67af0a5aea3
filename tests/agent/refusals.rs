//! W09-W12, W19, B27: the agent answers something other than an identity, or another program answers.

use std::io::Write as _;

use dev_agent::{Code, Misbehaviour, Status};
use serde_json::Value;
use test_support::{Mark, Program};

use crate::place::{
    LIMIT, Place, assert_no_errors, assert_patient, clockwork, count, heal, published,
    published_as, said, workload,
};
use crate::raw;

#[test]
fn w09_an_unregistered_workload_is_reported_once_and_asked_for_slowly() {
    let place = Place::new();
    let agent = place.agent_without_entries().start().unwrap();
    let pgsvid = place.run(&[]);
    let (event, mark) = said(&pgsvid, Mark::default(), "not-registered");
    assert_eq!(event["level"], "INFO", "{event}");
    agent.wait_until(LIMIT, |activity| activity.requests >= 3).unwrap();
    assert!(pgsvid.is_running() && place.is_empty());
    agent.add_entry(workload()).unwrap();
    published(&pgsvid, mark, 1);
    assert!(place.holds(&agent.svid()));
    assert_no_errors(&pgsvid);
    let said = pgsvid.lines().iter().filter(|line| line.contains("not registered yet")).count();
    assert_eq!(said, 1);
    assert!(agent.activity().requests < 10, "{:?}", agent.activity());
}

#[test]
fn w10_a_withdrawn_identity_stays_on_disk_and_is_warned_of() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let svid = agent.svid();
    agent.remove_entries();
    let (event, mark) = said(&pgsvid, mark, "identity-withdrawn");
    assert_eq!(event["level"], "WARN", "{event}");
    let before = agent.activity().requests;
    agent.wait_until(LIMIT, |activity| activity.requests > before).unwrap();
    assert!(pgsvid.is_running() && place.holds(&svid));
    assert_no_errors(&pgsvid);

    agent.add_entry(workload()).unwrap();
    published(&pgsvid, mark, 2);
    assert!(place.holds(&agent.svid()));
    let warned = pgsvid.lines().iter().filter(|line| line.contains("has withdrawn")).count();
    assert_eq!(warned, 1, "said once");
}

#[test]
fn w10_the_same_identity_given_back_is_current_again_and_not_published_twice() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.misbehave(Misbehaviour::Refuse(Status::permission_denied("no identity issued")));
    agent.end_streams(Some(&Status::permission_denied("no identity issued")));
    let (_, mark) = said(&pgsvid, mark, "identity-withdrawn");
    agent.behave();
    agent.wait_until(LIMIT, |activity| activity.open_streams == 1).unwrap();
    // The second stream is asked for when what the first one brought has been dealt with.
    let before = agent.activity().requests;
    agent.end_streams(None);
    agent
        .wait_until(LIMIT, |activity| activity.requests > before && activity.open_streams == 1)
        .unwrap();
    agent.rotate().unwrap();
    published_as(&pgsvid, mark, 2, &agent.svid());
}

#[test]
fn w11_a_failed_attestation_is_retried_with_back_off() {
    let place = Place::new();
    let refusal = Status::unavailable("failed to attest: \u{1b}[31mred\nsecond line");
    let agent =
        clockwork(place.agent()).misbehaviour(Misbehaviour::Refuse(refusal)).start().unwrap();
    let pgsvid = place.run(&["--log-format", "text"]);
    let line = pgsvid.wait_for_text(LIMIT, "failed to attest");
    assert!(line.contains("the agent answered Unavailable"), "{line}");
    // An agent's text can neither begin a line nor colour one.
    assert!(!line.contains('\u{1b}') && line.contains("second line"), "{line}");
    assert_patient(&agent);
    assert!(pgsvid.is_running() && place.is_empty());
    heal(&agent);
    pgsvid.wait_for_text(LIMIT, "published");
}

#[test]
fn w12_at_start_a_permanent_refusal_ends_it_with_a_clear_error() {
    for (code, name) in
        [(Code::InvalidArgument, "InvalidArgument"), (Code::Unimplemented, "Unimplemented")]
    {
        let place = Place::new();
        let refusal = Misbehaviour::Refuse(Status::new(code, "security header missing"));
        let agent = place.agent().misbehaviour(refusal).start().unwrap();
        let pgsvid = place.run(&[]);
        assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1), "{name}");
        let error = pgsvid.standard_error();
        let last = error.lines().last().unwrap();
        assert!(last.contains(&format!("the agent answered {name}: security header")), "{error}");
        assert!(last.contains("the Workload API refuses this program"), "{error}");
        assert!(place.is_empty());
        assert_eq!(agent.activity().requests, 1, "the specification forbids to retry");
    }
}

#[test]
fn w12_later_a_permanent_refusal_is_an_alarm_and_no_end() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let svid = agent.svid();
    agent.misbehave(Misbehaviour::Refuse(Status::unimplemented("no such method")));
    let requests = agent.activity().requests;
    agent.end_streams(None);
    let (event, mark) = said(&pgsvid, mark, "agent-refused");
    assert_eq!(event["level"], "ERROR", "{event}");
    assert!(event["error"].as_str().unwrap().contains("Unimplemented: no such method"), "{event}");
    assert_eq!(event["next"], "the published files stay; asking again in 5m");
    assert!(pgsvid.is_running() && place.holds(&svid));
    // A newer agent makes a new socket.
    heal(&agent);
    published(&pgsvid, mark, 2);
    assert!(agent.activity().requests <= requests + 3, "{:?}", agent.activity());
}

/// The set that is there counts at once, so this daemon's end would be the start of another one.
#[test]
fn x08_a_permanent_refusal_to_a_daemon_that_was_started_again_is_an_alarm_and_no_end() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.misbehave(Misbehaviour::Refuse(Status::unimplemented("no such method")));
    let requests = agent.activity().requests;
    pgsvid.daemon().signal(test_support::Signal::KILL);
    let (_, mark) = said(&pgsvid, mark, "daemon-restarted");
    let (event, mark) = said(&pgsvid, mark, "agent-refused");
    assert_eq!(event["next"], "the published files stay; asking again in 5m");
    let daemon = pgsvid.daemon().0;
    agent.rotate().unwrap();
    heal(&agent);
    published(&pgsvid, mark, 1);
    assert_eq!(pgsvid.daemon().0, daemon);
    assert!(agent.activity().requests <= requests + 3, "{:?}", agent.activity());
}

/// A proxy in front of the agent, say: no status of HTTP ends a start, and none withdraws the identity.
#[test]
fn b27_statuses_of_http_are_neither_a_refusal_nor_a_withdrawal() {
    // 404 is one of the table; 403 is spelt out behind the table's name.
    for (head, number) in [(b"\x8d".as_slice(), 404), (b"\x08\x03403".as_slice(), 403)] {
        let place = Place::new();
        let listener = raw::listen(&place.socket());
        let pgsvid = place.run(&[]);
        // A connection that ends may be gone before its bytes are looked at.
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = raw::asked(&listener);
            stream.write_all(&[raw::greeting(), raw::refusal(head)].concat()).unwrap();
            open.push(stream);
        }
        let (event, _) = said(&pgsvid, Mark::default(), "agent-disconnected");
        let error = event["error"].as_str().unwrap();
        assert!(error.contains(&format!("answered with HTTP {number}")), "{event}");
        assert_eq!(count(&pgsvid, "not-registered"), 0);
        assert!(pgsvid.is_running());
    }
}

#[test]
fn w19_http_1_on_the_socket_is_named() {
    speaks(Misbehaviour::http1());
}

#[test]
fn w19_tls_on_the_socket_is_named() {
    speaks(Misbehaviour::tls());
}

#[test]
fn w19_anything_else_on_the_socket_is_named() {
    speaks(Misbehaviour::Speak(b"220 mail.example.org ESMTP\r\n".to_vec()));
}

fn speaks(language: Misbehaviour) {
    let place = Place::new();
    let agent = clockwork(place.agent()).misbehaviour(language).start().unwrap();
    let pgsvid = place.run(&[]);
    // Now and then the connection is gone before its bytes are looked at.
    let (_, mark) = pgsvid.wait_for_event_after(Mark::default(), LIMIT, |event| {
        event["error"].as_str().is_some_and(|error| {
            error.ends_with("agent.sock does not speak gRPC: is it an agent's Workload API?")
        })
    });
    assert_patient(&agent);
    assert!(count(&pgsvid, "agent-disconnected") <= 3);
    assert!(pgsvid.is_running() && place.is_empty());
    heal(&agent);
    published(&pgsvid, mark, 1);
}

/// What `check` says of an agent that answers with these bytes, and its remedy.
fn checked(answer: &[u8]) -> (String, String) {
    let place = Place::new();
    let listener = raw::listen(&place.socket());
    let arguments = [
        "check",
        "--format=json",
        &format!("--endpoint=unix://{}", place.socket().display()),
        &format!("--directory={}", place.svids.display()),
    ]
    .map(str::to_owned);
    let check = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[]);
    let mut agent = raw::asked(&listener);
    agent.write_all(&[raw::greeting(), answer.to_vec()].concat()).unwrap();
    assert_eq!(check.wait_exit(LIMIT).code(), Some(1), "{}", check.standard_error());
    let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap().iter();
    let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    let said = |finding: &Value, key| finding[key].as_str().unwrap_or_default().to_owned();
    let of_agent = |finding: &&Value| {
        finding["severity"] == "failure" && said(finding, "text") != "nothing is published yet"
    };
    let finding = findings.clone().find(of_agent).unwrap();
    (said(finding, "text"), said(finding, "fix"))
}

#[test]
fn w19_every_answer_instead_of_an_svid_is_reported_with_its_remedy() {
    let page = b"<!DOCTYPE html><title>It works!</title>";
    for (answer, words) in [
        (raw::answer_of_type("text/html", page), "does not speak gRPC"),
        (raw::answer_of_type("application/grpc-web+proto", page), "does not speak gRPC"),
        (raw::answer_of_type("application/grpc+proto", page), "the call failed with Internal"),
        (raw::answer_of_type("application/grpc", &[]), "ended the stream without a message"),
        (raw::answer(b"<html>"), "the message is malformed"),
        (raw::answer(b""), "the message holds no SVID"),
    ] {
        let (text, fix) = checked(&answer);
        assert!(text.contains(words), "{words}: {text}");
        assert!(!fix.is_empty(), "no remedy: {text}");
    }
}
