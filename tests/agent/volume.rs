//! W15, W18, A40: too many messages, and too large ones.

use std::time::Duration;

use dev_agent::Misbehaviour;
use test_support::{Mark, Program, eventually};

use crate::place::{
    LIMIT, Place, assert_no_errors, assert_patient, clockwork, count, mend, published, said,
};

#[test]
fn w15_of_a_storm_the_newest_wins() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&["--log-level", "info"]);
    published(&pgsvid, Mark::default(), 1);
    let before = agent.activity().issued;
    agent.storm(1500, Duration::from_millis(1));
    agent.wait_until(4 * LIMIT, |activity| activity.issued >= before + 1500).unwrap();
    place.wait_for_current(&agent);
    assert!(pgsvid.is_running());
    let generations = count(&pgsvid, "published");
    assert!(
        generations < 1500,
        "{generations} generations: what was replaced meanwhile is passed over"
    );
    assert_no_errors(&pgsvid);
}

#[test]
fn a40_identities_without_end_are_published_now_and_then_and_a_changed_bundle_at_once() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run_with("[files]\npublish_every = '1h'\n[log]\nlevel = 'info'");
    let mark = published(&pgsvid, Mark::default(), 1);
    let before = agent.activity().issued;
    agent.storm(u32::MAX, Duration::from_millis(20));
    let (event, mark) = pgsvid.wait_for_event_after(mark, 4 * LIMIT, |event| {
        event["message"].as_str().is_some_and(|text| text.contains("without end"))
    });
    assert_eq!((&event["level"], &event["every"]), (&"WARN".into(), &"1h".into()), "{event}");
    let generations = count(&pgsvid, "published");
    assert_eq!(generations, 121, "the first, and a burst");
    // A hundred more identities lead to none.
    let issued = agent.activity().issued;
    agent.wait_until(4 * LIMIT, |activity| activity.issued >= issued + 100).unwrap();
    assert_eq!(count(&pgsvid, "published"), generations);
    assert!(agent.activity().issued > before + 220);
    // An authority more is published with the newest of them, and one less, too.
    let follows = |change: &dyn Fn()| {
        let bundle = place.read("svid_bundle.pem");
        change();
        eventually(LIMIT, "the bundle is published", || place.read("svid_bundle.pem") != bundle);
    };
    follows(&|| agent.prepare_root().unwrap());
    agent.activate_authority().unwrap();
    follows(&|| agent.revoke_authority().unwrap());
    said(&pgsvid, mark, "published");
    assert_no_errors(&pgsvid);
}

#[test]
fn a40_of_identities_without_end_the_newest_wins_in_the_end() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run_with("[files]\npublish_every = '3s'\n[log]\nlevel = 'info'");
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.storm(3000, Duration::from_millis(10));
    let issued = agent.activity().issued;
    pgsvid.wait_for_event_after(mark, 4 * LIMIT, |event| {
        event["message"].as_str().is_some_and(|text| text.contains("without end"))
    });
    agent.wait_until(4 * LIMIT, |activity| activity.issued >= issued + 2990).unwrap();
    place.wait_for_current(&agent);
    assert!(count(&pgsvid, "published") < 180);
    assert_no_errors(&pgsvid);
}

#[test]
fn w18_a_message_of_ten_mebibytes_is_refused_and_the_stream_is_made_anew() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let svid = agent.svid();
    agent.wait_until(LIMIT, |activity| activity.open_streams == 1).unwrap();
    let before = peak_memory(&pgsvid);

    let mut message = agent.response();
    message.svids[0].bundle = svid.bundle[0].repeat((10 << 20) / svid.bundle[0].len());
    agent.push(&message);
    let (event, mark) = said(&pgsvid, mark, "agent-disconnected");
    assert!(event["error"].as_str().unwrap().contains("larger than"), "{event}");
    assert!(place.holds(&svid));
    let grown = peak_memory(&pgsvid) - before;
    assert!(grown < 10 * 1024, "{grown} KiB more");

    agent.rotate().unwrap();
    published(&pgsvid, mark, 2);
    assert!(place.holds(&agent.svid()));
}

#[test]
fn w18_an_agent_that_says_nothing_but_too_much_is_no_reason_to_spin() {
    let place = Place::new();
    let agent = clockwork(place.agent()).start().unwrap();
    let mut message = agent.response();
    message.svids[0].bundle = vec![0; 10 << 20];
    agent.misbehave(Misbehaviour::Reply(vec![message]));
    let pgsvid = place.run(&[]);
    let (_, mark) = said(&pgsvid, Mark::default(), "agent-disconnected");
    assert_patient(&agent);
    assert!(pgsvid.is_running() && place.is_empty());
    mend(&agent);
    published(&pgsvid, mark, 1);
}

/// Peak resident memory in KiB.
pub(crate) fn peak_memory(program: &Program) -> u64 {
    program.process().peak()
}
