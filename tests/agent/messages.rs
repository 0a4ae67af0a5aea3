//! W13, W16, W20: messages that are wrong, equal, or come in bursts; C02, C03: SVIDs that are not valid yet, or have expired.

use std::time::Duration;

use dev_agent::{DevAgent, Entry, Flaw};
use pgsvid_proto::X509svidResponse;
use test_support::{Mark, Program};

use crate::place::{
    ID, LIMIT, Place, assert_no_errors, count, events, published, published_as, said,
    said_in_words, workload,
};

const REJECTED: &str = "message-rejected";

#[test]
fn w13_incomplete_messages_are_discarded_and_the_old_set_is_kept() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mut mark = published(&pgsvid, Mark::default(), 1);
    let svid = agent.svid();
    agent.wait_until(LIMIT, |activity| activity.open_streams == 1).unwrap();

    let spoil = |how: fn(&mut X509svidResponse)| {
        let mut message = agent.response();
        how(&mut message);
        message
    };
    for (message, reason) in [
        (spoil(|message| message.svids.clear()), "the message holds no SVID"),
        (spoil(|message| message.svids[0].x509_svid.clear()), "the certificate chain is empty"),
        (spoil(|message| message.svids[0].x509_svid_key.clear()), "the private key is empty"),
        (spoil(|message| message.svids[0].bundle.clear()), "the bundle is empty"),
        (spoil(|message| message.svids[0].spiffe_id.clear()), "the SPIFFE ID is invalid"),
    ] {
        agent.push(&message);
        mark = rejected(&pgsvid, mark, reason);
        assert!(place.holds(&svid), "{reason}");
    }
    agent.rotate().unwrap();
    let (_, mark) = said(&pgsvid, mark, "message-accepted");
    published(&pgsvid, mark, 2);
    assert!(place.holds(&agent.svid()));
    assert_no_errors(&pgsvid);
}

#[test]
fn w13_an_incomplete_first_message_leaves_the_directory_empty() {
    let place = Place::new();
    let agent =
        place.agent_without_entries().entry(workload().with(Flaw::EmptyKey)).start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = rejected(&pgsvid, Mark::default(), "the private key is empty");
    assert!(place.is_empty());
    // The same again is not said again.
    agent.repeat();
    said_in_words(&pgsvid, mark, "the agent's message is rejected again");
    assert_eq!(count(&pgsvid, REJECTED), 1);
    agent.set_entries([workload()]).unwrap();
    published(&pgsvid, mark, 1);
}

#[test]
fn w16_the_same_svid_again_is_neither_written_nor_logged() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let generation = std::fs::read_link(place.svids.join("..data")).unwrap();
    for requests in 2..=4 {
        // Each new stream begins with it, too.
        agent.repeat();
        agent.end_streams(None);
        agent
            .wait_until(LIMIT, |activity| {
                activity.requests == requests && activity.open_streams == 1
            })
            .unwrap();
    }
    assert_eq!(std::fs::read_link(place.svids.join("..data")).unwrap(), generation);
    agent.rotate().unwrap();
    published_as(&pgsvid, mark, 2, &agent.svid());
    assert_eq!(count(&pgsvid, "identity-received"), 2);
}

#[test]
fn w17_a_bundle_alone_is_published() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let leaf = agent.svid().leaf().to_vec();
    agent.prepare_authority().unwrap();
    published(&pgsvid, mark, 2);
    assert!(place.holds(&agent.svid()) && agent.svid().leaf() == leaf);
    assert_eq!(agent.svid().bundle.len(), 2);
}

#[test]
fn w20_a_tainted_authoritys_burst_ends_at_the_newest_in_two_rotations_at_most() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.prepare_authority().unwrap();
    published(&pgsvid, mark, 2);
    agent.activate_authority().unwrap();
    agent.taint_authority().unwrap();
    newest_in_two_rotations(&place, &agent, &pgsvid, 2);
    // Renewed already: the smaller bundle still vouches for the first of the two messages.
    agent.revoke_authority().unwrap();
    newest_in_two_rotations(&place, &agent, &pgsvid, 4);
    assert_no_errors(&pgsvid);
}

#[test]
fn w20_a_first_message_that_fails_the_checks_is_no_alarm() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.prepare_authority().unwrap();
    published(&pgsvid, mark, 2);
    agent.activate_authority().unwrap();
    // The old SVID's authority is not in the first message's bundle any more.
    agent.revoke_authority().unwrap();
    newest_in_two_rotations(&place, &agent, &pgsvid, 2);
    assert_no_errors(&pgsvid);
}

/// Waits for the newest of a burst, and counts what was published on the way to it.
fn newest_in_two_rotations(place: &Place, agent: &DevAgent, pgsvid: &Program, before: usize) {
    place.wait_for_current(agent);
    let after = count(pgsvid, "published");
    assert!(after <= before + 2, "{after} publications, {before} before the burst");
}

#[test]
fn i01_i04_flawed_svids_are_refused_before_anything_is_written() {
    let place = Place::new();
    let agent = place.agent_without_entries().start().unwrap();
    let pgsvid = place.run(&[]);
    let mut mark = said(&pgsvid, Mark::default(), "not-registered").1;
    for (flaw, reason) in [
        (Flaw::KeyOfAnother, "the private key does not belong to the leaf"),
        (Flaw::ForeignAuthority, "OpenSSL finds no path from the leaf"),
        (Flaw::SecondUri("spiffe://example.org/b".to_owned()), "the leaf has 2 URI names"),
        (Flaw::Ca, "the leaf is a CA certificate"),
        (Flaw::Uri("spiffe://example.org".to_owned()), "the SPIFFE ID is invalid"),
        (Flaw::TrailingBytes(vec![0]), "the certificate chain is malformed"),
        (Flaw::Intermediates(30), "the certificate chain is malformed"),
    ] {
        agent.set_entries([workload().with(flaw)]).unwrap();
        mark = rejected(&pgsvid, mark, reason);
        assert!(place.is_empty(), "{reason}");
    }
    agent.set_entries([workload()]).unwrap();
    published(&pgsvid, mark, 1);
    assert!(place.holds(&agent.svid()));
}

#[test]
fn c02_an_svid_before_its_time_is_published_when_its_time_has_come() {
    let place = Place::new();
    // A minute of clock skew is allowed, so it may be used three seconds from now.
    let early = workload().with(Flaw::NotYetValid(Duration::from_secs(63)));
    let agent = place.agent_without_entries().entry(early).start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = rejected(&pgsvid, Mark::default(), "the SVID is valid only from ");
    assert!(place.is_empty());
    published(&pgsvid, mark, 1);
    assert!(place.holds(&agent.svid()));
}

#[test]
fn c03_an_expired_svid_never_replaces_a_valid_one() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    let svid = agent.svid();
    let expired = Entry::new(ID).with(Flaw::Expired(Duration::from_secs(1)));
    agent.set_entries([expired]).unwrap();
    rejected(&pgsvid, mark, "the SVID expired at ");
    assert!(place.holds(&svid));
    assert_eq!(events(&pgsvid).iter().filter(|event| event["event"] == "published").count(), 1);
}

#[track_caller]
fn rejected(pgsvid: &Program, mark: Mark, reason: &str) -> Mark {
    let (event, mark) = said(pgsvid, mark, REJECTED);
    let given = event["reason"].as_str().unwrap();
    assert!(given.starts_with(reason), "{given}");
    mark
}
