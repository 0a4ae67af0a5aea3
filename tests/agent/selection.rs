//! W14: which of several SVIDs; I08: whose authorities beside them.

use dev_agent::{Authority, DevAgent, Entry, Misbehaviour};
use pgsvid::material::Expectations;
use pgsvid::source::{Discarded, Selection, Settings};
use prost::Message as _;
use test_support::Mark;

use crate::place::{LIMIT, Place, published, published_as, said, workload};

const OTHER: &str = "spiffe://example.org/ns/apps/sa/other";

#[test]
fn w14_without_a_wish_the_first_svid_is_taken() {
    let place = Place::new();
    let agent = two(&place, ["", "postgres"]);
    let pgsvid = place.run(&[]);
    published(&pgsvid, Mark::default(), 1);
    assert!(place.holds(&agent.svids()[0]));
}

#[test]
fn w14_a_hint_chooses_the_first_that_has_it() {
    for (hints, chosen) in [(["", "postgres"], 1), (["postgres", "postgres"], 0)] {
        let place = Place::new();
        let agent = two(&place, hints);
        let pgsvid = place.run(&["--hint", "postgres"]);
        published(&pgsvid, Mark::default(), 1);
        assert!(place.holds(&agent.svids()[chosen]), "{hints:?}");
    }
}

#[test]
fn w14_an_id_chooses_the_first_that_has_it() {
    let place = Place::new();
    let agent = two(&place, ["", ""]);
    agent.add_entry(Entry::new(OTHER).dns("second")).unwrap();
    let pgsvid = place.run(&["--spiffe-id", OTHER]);
    published(&pgsvid, Mark::default(), 1);
    assert!(place.holds(&agent.svids()[1]));
}

#[test]
fn w14_an_absent_hint_is_named_and_waited_for() {
    let place = Place::new();
    let agent = two(&place, ["", "web"]);
    let pgsvid = place.run(&["--hint", "postgres"]);
    let (event, mark) = said(&pgsvid, Mark::default(), "message-rejected");
    let reason = event["reason"].as_str().unwrap();
    let wanted = "none of the 2 SVIDs offered has the hint \"postgres\"; offered: ";
    assert!(reason.starts_with(wanted) && reason.contains(OTHER), "{reason}");
    assert!(reason.ends_with("(hint \"web\")"), "{reason}");
    assert!(pgsvid.is_running() && place.is_empty());

    agent.add_entry(workload().hint("postgres")).unwrap();
    let mark = published(&pgsvid, mark, 1);
    let svid = agent.svids()[2].clone();
    assert!(place.holds(&svid));

    // It goes away again: what is published stays.
    agent.set_entries([workload()]).unwrap();
    said(&pgsvid, mark, "message-rejected");
    assert!(place.holds(&svid));
}

#[test]
fn i05_an_unexpected_id_or_trust_domain_is_refused_before_anything_is_written() {
    for (configuration, wanted) in [
        (
            "[svid]\nspiffe_id = \"spiffe://example.org/another\"\n",
            "has the ID spiffe://example.org/another",
        ),
        ("[svid]\ntrust_domain = \"other.org\"\n", "is not of trust domain other.org"),
    ] {
        let place = Place::new();
        let _agent = place.agent().start().unwrap();
        let pgsvid = place.run_with(configuration);
        let (event, _) = said(&pgsvid, Mark::default(), "message-rejected");
        assert!(event["reason"].as_str().unwrap().contains(wanted), "{event}");
        assert!(pgsvid.is_running() && place.is_empty());
    }
}

#[test]
fn i08_federated_bundles_stay_out_unless_they_are_wanted() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    agent.federate("other.org").unwrap();
    let pgsvid = place.run(&[]);
    let mark = published(&pgsvid, Mark::default(), 1);
    assert!(place.holds(&agent.svid()));
    // Nor does a change of theirs make a new generation.
    agent.federate("third.org").unwrap();
    let before = agent.activity().requests;
    agent.end_streams(None);
    agent
        .wait_until(LIMIT, |activity| activity.requests > before && activity.open_streams == 1)
        .unwrap();
    agent.rotate().unwrap();
    published_as(&pgsvid, mark, 2, &agent.svid());
}

#[test]
fn i08_bad_federated_bundles_are_left_out_and_the_rest_counts() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let other = agent.federate("other.org").unwrap();
    // One that would replace the real bundle, in both spellings of the key.
    let impostor = Authority::new("example.org", false).unwrap();
    agent.federate_raw("spiffe://example.org", impostor.root().to_vec());
    agent.federate_raw("example.org", impostor.root().to_vec());
    agent.federate_raw("spiffe://broken.org", b"no certificate".to_vec());
    agent.federate_raw("not a trust domain\n", other.root().to_vec());
    let pgsvid = place.run_with("[files]\nfederated_bundles = true\n");
    let mark = published(&pgsvid, Mark::default(), 1);

    let bundle = place.read("svid_bundle.pem");
    assert_eq!(bundle, agent.svid().bundle_pem() + &other.root_pem());
    assert_eq!(place.read("svid.pem"), agent.svid().chain_pem());
    let (event, _) = said(&pgsvid, Mark::default(), "federated-left-out");
    assert_eq!(event["level"], "WARN", "{event}");
    let left_out = event["left_out"].as_str().unwrap();
    for domain in ["spiffe://example.org: ", "example.org: ", "broken.org: ", "not a trust domain"]
    {
        assert!(left_out.contains(domain), "{left_out}");
    }
    said(&pgsvid, Mark::default(), "identity-warning");

    // Wanted, a change of theirs is a generation.
    let third = agent.federate("third.org").unwrap();
    published(&pgsvid, mark, 2);
    assert!(place.read("svid_bundle.pem").ends_with(&third.root_pem()));
}

#[test]
fn a14_a_chain_that_no_client_would_take_is_refused() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let settings = Settings {
        endpoint: agent.endpoint().parse().unwrap(),
        selection: Selection::default(),
        expectations: Expectations::default(),
        federated_bundles: false,
    };
    let mut message = agent.response();
    let chain = &mut message.svids[0].x509_svid;
    // Certificates all of them: nothing but the size is wrong.
    let (leaf, most) = (chain.clone(), 48 * 1024);
    while chain.len() <= most {
        chain.extend_from_slice(&leaf);
    }
    let refused = settings.material(message.encode_to_vec(), pgsvid::timing::now()).unwrap_err();
    let of_the_chain =
        |error: &Discarded| matches!(error, Discarded::TooLarge { field: "certificate chain", .. });
    assert!(of_the_chain(&refused), "{refused}");
}

/// An agent with two SVIDs of these hints.
fn two(place: &Place, hints: [&str; 2]) -> DevAgent {
    let [first, second] = hints;
    place
        .agent_without_entries()
        .entry(workload().hint(first))
        .entry(Entry::new(OTHER).dns("other.example.org").hint(second))
        .start()
        .unwrap()
}

#[test]
fn a14_names_of_federated_authorities_do_not_keep_out_our_own_svid() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let many = |domain: &str, count: usize| -> Vec<u8> {
        let root = |_| Authority::new(domain, false).unwrap().root().to_vec();
        (0..count).flat_map(root).collect()
    };
    let mut message = agent.response();
    // More than a handshake has room for, and one that comes after it.
    message.federated_bundles.insert("many.org".to_owned(), many("many.org", 700));
    message.federated_bundles.insert("other.org".to_owned(), many("other.org", 1));
    agent.misbehave(Misbehaviour::Reply(vec![message.clone()]));
    let pgsvid = place.run_with("[files]\nfederated_bundles = true\n");
    let (event, _) = said(&pgsvid, Mark::default(), "federated-left-out");
    let left_out = event["left_out"].as_str().unwrap();
    assert!(left_out.contains("many.org") && !left_out.contains("other.org"), "{event}");
    published(&pgsvid, Mark::default(), 1);
    assert_eq!(place.read("svid_bundle.pem").matches("BEGIN CERTIFICATE").count(), 2);
}
