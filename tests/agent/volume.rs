//! W15, W18, A40: too many messages, and too large ones.

use std::time::Duration;

use dev_agent::Misbehaviour;
use pgsvid::timing;
use test_support::{Account, Mark, Program, Signal, Tmpfs, eventually, with_mounts};
use tokio::time::Instant;

use crate::place::{
    LIMIT, Place, assert_no_errors, assert_patient, clockwork, count, heal, published, said,
    said_in_words, workload,
};

/// How soon something has its turn among others, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

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
    let (event, mark) = pgsvid
        .wait_for_event_after(mark, 4 * LIMIT, |event| event["event"] == "identities-without-end");
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
    pgsvid
        .wait_for_event_after(mark, 4 * LIMIT, |event| event["event"] == "identities-without-end");
    agent.wait_until(4 * LIMIT, |activity| activity.issued >= issued + 2990).unwrap();
    place.wait_for_current(&agent);
    assert!(count(&pgsvid, "published") < 180);
    assert_no_errors(&pgsvid);
}

#[test]
fn a65_an_expired_certificate_behind_the_leaf_does_not_pass_the_limit() {
    let place = Place::new();
    let agent = place.agent().intermediate(true).start().unwrap();
    let pgsvid = place.run_with("[files]\npublish_every = '1h'");
    let mark = published(&pgsvid, Mark::default(), 1);
    let ours = agent.authority();
    let expired = ours.vouch_for(&ours, timing::now() - Duration::from_secs(86_400)).unwrap();
    let send = |mark| {
        let svid = agent.issue(&workload()).unwrap();
        let mut message = agent.response();
        message.svids[0] = svid.to_message();
        message.svids[0].x509_svid.extend(&expired);
        agent.push(&message);
        let serial = &svid.serial_hex()[..6];
        let received = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["message"] == "identity received"
                && event["serial"].as_str().is_some_and(|text| text.replace(':', "") == serial)
        });
        received.1
    };
    let mut mark = mark;
    // On a quick machine many more come than are published.
    for _ in 0..10_000 {
        if count(&pgsvid, "identities-without-end") > 0 {
            break;
        }
        mark = send(mark);
    }
    assert_eq!(count(&pgsvid, "identities-without-end"), 1);
    let generations = count(&pgsvid, "published");
    for _ in 0..100 {
        mark = send(mark);
    }
    assert_eq!(count(&pgsvid, "published"), generations);
}

#[test]
fn a67_rejected_messages_cause_no_earlier_retry_while_publication_fails() {
    with_mounts(|| {
        let place = Place::new();
        let volume = Tmpfs::over(
            &place.svids,
            &format!("size=1m,mode=0755,uid={}", Account::server().uid()),
        );
        let agent = place.agent().start().unwrap();
        let pgsvid = place.run(&[]);
        published(&pgsvid, Mark::default(), 1);
        volume.set_read_only(true);
        agent.rotate().unwrap();
        let tries = || {
            let lines = pgsvid.lines();
            lines.iter().filter(|line| line.contains("still cannot publish")).count()
        };
        // Until the next try is a second away, on average.
        eventually(LIMIT, "it is tried again and again", || tries() >= 4);
        let before = tries();
        let mut message = agent.response();
        message.svids[0].bundle = b"none".to_vec();
        let mut mark = pgsvid.mark();
        let begun = Instant::now();
        // Each of these would have been another try, ten in a second.
        while begun.elapsed() < Duration::from_secs(4) {
            agent.push(&message);
            mark = said_in_words(&pgsvid, mark, "the agent's message is rejected").1;
        }
        assert!(tries() < before + 12, "{before} tries, and then {}", tries());
        volume.set_read_only(false);
        place.wait_for_current(&agent);
    });
}

#[test]
fn a88_identities_without_end_hide_neither_changed_files_nor_a_signal() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run_with("[files]\npublish_every = '1h'\n[log]\nlevel = 'info'");
    published(&pgsvid, Mark::default(), 1);
    agent.storm(u32::MAX, Duration::from_millis(1));
    let (_, mut mark) = pgsvid.wait_for_event_after(Mark::default(), 4 * LIMIT, |event| {
        event["event"] == "identities-without-end"
    });
    for name in ["svid.pem", "svid_bundle.pem", "..data"] {
        std::fs::remove_file(place.svids.join(name)).unwrap();
        eventually(PROMPT, "what was removed is there again", || place.svids.join(name).exists());
        (_, mark) = said(&pgsvid, mark, "files-changed");
        (_, mark) = said(&pgsvid, mark, "published");
    }
    let links = place.svids.join("..data");
    let ours = std::fs::read_link(&links).unwrap();
    for _ in 0..3 {
        pgsvid.signal(Signal::HUP);
        (_, mark) =
            pgsvid.wait_for_event_after(mark, PROMPT, |event| event["event"] == "asked-again");
        (_, mark) = said(&pgsvid, mark, "published");
    }
    assert_ne!(std::fs::read_link(&links).unwrap(), ours);
    assert!(pgsvid.terminate(LIMIT).success());
    assert_no_errors(&pgsvid);
}

#[test]
fn w18_a_message_of_ten_mebibytes_is_refused_and_the_stream_is_opened_again() {
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
    assert!(event["error"].as_str().unwrap().contains("OutOfRange"), "{event}");
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
    heal(&agent);
    published(&pgsvid, mark, 1);
}

/// Peak resident memory in KiB.
pub(crate) fn peak_memory(program: &Program) -> u64 {
    program.process().peak()
}
