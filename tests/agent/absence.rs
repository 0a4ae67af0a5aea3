//! W01-W08: an agent that is absent, silent, or goes away.

use std::time::Duration;

use dev_agent::{Code, DevAgent, Misbehaviour, Status, Stop};
use test_support::{Account, Mark, Program, Signal};

use crate::place::{
    LIMIT, Place, assert_no_errors, assert_patient, clockwork, events, heal, published,
    published_as, said, said_in_words, workload,
};

#[test]
fn w01_without_a_socket_it_waits_and_publishes_as_soon_as_there_is_one() {
    let place = Place::new();
    let pgsvid = place.run(&[]);
    let (event, mark) = said(&pgsvid, Mark::default(), "agent-disconnected");
    let error = event["error"].as_str().unwrap();
    assert!(error.contains("agent.sock: the socket does not exist"), "{error}");
    let (_, mark) = said_in_words(&pgsvid, mark, "still no connection to the agent");
    assert!(pgsvid.is_running() && place.is_empty());

    let agent = place.agent().start().unwrap();
    published(&pgsvid, mark, 1);
    assert!(place.holds(&agent.svid()));
    assert_no_errors(&pgsvid);
    // Once, and perhaps another time that the new socket is not ready yet.
    let missing = events(&pgsvid).into_iter().filter(|event| {
        event["level"] == "WARN"
            && event["error"].as_str().is_some_and(|text| text.contains("not exist"))
    });
    assert_eq!(missing.count(), 1, "said once");
    // SIGTERM is an end in order.
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn w01_the_sockets_directory_may_be_missing_too() {
    let place = Place::new();
    let socket = place.svids.with_file_name("later").join("agent.sock");
    let endpoint = format!("unix://{}", socket.display());
    let pgsvid = place.run(&["--endpoint", &endpoint]);
    let (_, mark) = said(&pgsvid, Mark::default(), "agent-disconnected");
    std::fs::create_dir(socket.parent().unwrap()).unwrap();
    let agent = DevAgent::builder(&socket).entry(crate::place::workload()).start().unwrap();
    published(&pgsvid, mark, 1);
    assert!(place.holds(&agent.svid()));
}

#[test]
fn w02_a_stale_socket_file_is_waited_for_likewise() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    agent.stop(Stop::Kill);
    assert!(place.socket().exists());
    let pgsvid = place.run(&[]);
    let (event, mark) = said(&pgsvid, Mark::default(), "agent-disconnected");
    assert!(event["error"].as_str().unwrap().contains("nobody listens there"), "{event}");
    let (_, mark) = said_in_words(&pgsvid, mark, "still no connection to the agent");
    agent.restart().unwrap();
    published(&pgsvid, mark, 1);
    assert!(place.holds(&agent.svid()));
}

#[test]
fn w03_a_silent_agent_is_given_up_and_redialled() {
    let place = Place::new();
    let agent = place.agent().misbehaviour(Misbehaviour::Silent).start().unwrap();
    let pgsvid = place.run(&[]);
    agent.wait_until(LIMIT, |activity| activity.connections == 1).unwrap();
    let (event, mark) = said(&pgsvid, Mark::default(), "agent-disconnected");
    assert_eq!(event["error"], "the agent did not answer within 9s");
    agent.wait_until(LIMIT, |activity| activity.connections >= 2).unwrap();
    agent.behave();
    published(&pgsvid, mark, 1);
    assert!(agent.activity().connections < 10, "{:?}", agent.activity());
}

#[test]
fn w04_headers_without_a_message_are_given_up_and_redialled() {
    let place = Place::new();
    let agent = place.agent().misbehaviour(Misbehaviour::HeadersOnly).start().unwrap();
    let pgsvid = place.run(&[]);
    let (event, mark) = said(&pgsvid, Mark::default(), "agent-disconnected");
    assert_eq!(event["error"], "the agent did not answer within 9s");
    assert!(place.is_empty());
    agent.behave();
    published(&pgsvid, mark, 1);
    let activity = agent.wait_until(LIMIT, |activity| activity.open_streams == 1).unwrap();
    assert!(activity.requests < 10, "{activity:?}");
}

#[test]
fn w05_a_frozen_agent_is_noticed_and_the_alarm_is_raised_in_time() {
    let place = Place::new();
    let agent = clockwork(place.agent()).ttl(Duration::from_secs(12)).start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.freeze();
    let svid = agent.svid();

    let (alarm, _) = said_in_words(&pgsvid, mark, "the published identity expires in");
    assert_eq!(alarm["level"], "ERROR");
    let serial = alarm["serial"].as_str().unwrap().replace(':', "");
    assert!(!serial.is_empty() && svid.serial_hex().starts_with(&serial), "{alarm}");
    assert!(alarm["cause"].as_str().unwrap().contains("no newer identity"), "{alarm}");
    assert!(alarm["fix"].as_str().is_some(), "{alarm}");
    let (overdue, mark) = said(&pgsvid, mark, "agent-overdue");
    assert_eq!(overdue["level"], "WARN");
    // Past the end the files stay, and so does the process.
    let (_, mark) = said_in_words(&pgsvid, mark, "the published identity has expired");
    assert!(place.holds(&svid) && pgsvid.is_running());

    agent.thaw();
    published(&pgsvid, mark, 2);
}

/// Set in the process that is the agent of the next test.
const AGENT: &str = "W05_AGENT";

#[test]
fn w05_pgsvid_reconnects_to_a_stopped_agent_when_it_resumes() {
    const NAME: &str = "absence::w05_pgsvid_reconnects_to_a_stopped_agent_when_it_resumes";
    let place = Place::new();
    if let Some(socket) = std::env::var_os(AGENT) {
        let builder = clockwork(DevAgent::builder(socket).entry(workload()));
        let agent = builder.ttl(Duration::from_secs(12)).start().unwrap();
        agent.wait_until(Duration::MAX / 4, |_| false).unwrap();
    }
    let socket = place.socket().display().to_string();
    let agent = Program::spawn_as(
        Account::current(),
        std::env::current_exe().unwrap(),
        [NAME, "--exact"],
        &[(AGENT, &socket)],
    );
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let before = place.read("svid.pem");
    agent.signal(Signal::STOP);
    let (alarm, _) = said_in_words(&pgsvid, mark, "the published identity expires in");
    assert_eq!(alarm["level"], "ERROR");
    let (_, mark) = said(&pgsvid, mark, "agent-overdue");
    // The kernel accepts, and nobody answers.
    let (event, mark) = said(&pgsvid, mark, "agent-disconnected");
    assert_eq!(event["error"], "the agent did not answer within 9s");
    assert!(place.read("svid.pem") == before && pgsvid.is_running());
    agent.signal(Signal::CONT);
    published(&pgsvid, mark, 2);
    assert!(place.read("svid.pem") != before);
}

#[test]
fn w06_pgsvid_connects_to_a_recreated_socket_at_once() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    // From here on the next try by the clock is five minutes away.
    agent.misbehave(Misbehaviour::Refuse(Status::new(Code::InvalidArgument, "on purpose")));
    agent.end_streams(None);
    let (_, mut mark) = said(&pgsvid, mark, "agent-refused");
    for (generation, how) in (2..).zip([Stop::Kill, Stop::Terminate]) {
        agent.stop(how);
        agent.behave();
        agent.restart().unwrap();
        mark = published(&pgsvid, mark, generation);
        assert!(place.holds(&agent.svid()));

        agent.misbehave(Misbehaviour::Refuse(Status::new(Code::InvalidArgument, "on purpose")));
        agent.end_streams(None);
        mark = said(&pgsvid, mark, "agent-refused").1;
    }
}

#[test]
fn w07_a_clean_end_leads_to_a_new_stream_but_not_to_a_new_generation() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    for ends in 1..=3 {
        agent.end_streams(None);
        agent
            .wait_until(LIMIT, |activity| activity.requests > ends && activity.open_streams == 1)
            .unwrap();
    }
    agent.rotate().unwrap();
    published_as(&pgsvid, mark, 2, &agent.svid());
    assert!(place.holds(&agent.svid()));
    assert_no_errors(&pgsvid);
}

#[test]
fn w07_an_agent_that_ends_each_stream_after_its_message_is_no_reason_to_spin() {
    let place = Place::new();
    let behaviour = Misbehaviour::EndAfterFirst(None);
    let agent = clockwork(place.agent()).misbehaviour(behaviour).start().unwrap();
    let pgsvid = place.run(&[]);
    published(&pgsvid, Mark::default(), 1);
    assert_patient(&agent);
    assert!(pgsvid.is_running());
}

#[test]
fn w07_an_agent_that_hangs_up_at_once_is_no_reason_to_spin() {
    let place = Place::new();
    let agent = clockwork(place.agent()).misbehaviour(Misbehaviour::HangUp).start().unwrap();
    let pgsvid = place.run(&[]);
    said(&pgsvid, Mark::default(), "agent-disconnected");
    assert_patient(&agent);
    heal(&agent);
    published(&pgsvid, Mark::default(), 1);
}

#[test]
fn w08_a_connection_that_breaks_in_mid_message_leaves_the_old_set_in_place() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let first = agent.svid();
    agent.misbehave(Misbehaviour::CutMessages);
    agent.rotate().unwrap();
    let (event, mark) = said(&pgsvid, mark, "agent-disconnected");
    assert_eq!(event["level"], "WARN", "{event}");
    assert!(event["error"].as_str().unwrap().contains("agent.sock broke: "), "{event}");
    assert!(place.holds(&first));
    agent.behave();
    published(&pgsvid, mark, 2);
    assert!(place.holds(&agent.svid()));
}

#[test]
fn w08_connections_that_are_reset_are_made_again() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    for _ in 0..3 {
        let before = agent.activity().requests;
        agent.drop_connections();
        agent
            .wait_until(LIMIT, |activity| activity.requests > before && activity.open_streams == 1)
            .unwrap();
    }
    agent.rotate().unwrap();
    published_as(&pgsvid, mark, 2, &agent.svid());
}

#[test]
fn a87_pgsvid_connects_to_an_agent_that_replaces_one_that_holds_the_connection() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    // It goes on, answers, and will never renew; nobody else can reach it any more.
    std::fs::remove_file(place.socket()).unwrap();
    let other = place.agent().start().unwrap();
    let (_, mark) = said(&pgsvid, mark, "agent-replaced");
    published_as(&pgsvid, mark, 2, &other.svid());
    assert!(place.holds(&other.svid()));
    // Its directory may change as it will.
    std::fs::File::create(place.socket().with_file_name("beside")).unwrap();
    other.rotate().unwrap();
    place.wait_for_current(&other);
    assert_eq!(other.activity().connections, 1);
    assert_eq!(agent.activity().connections, 1);
    assert_no_errors(&pgsvid);
}
