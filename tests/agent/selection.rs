//! W14: which of several SVIDs is used; I08: whose authorities are published with it.

use dev_agent::{Authority, DevAgent, Entry, KeyIdentifier, Misbehaviour};
use pgsvid::material::Expectations;
use pgsvid::source::workload_api::{Discarded, Selection, Settings};
use prost::Message as _;
use test_support::Mark;

use crate::place::{LIMIT, Place, count, published, published_as, said, workload};

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

/// More authorities of one name than may be looked at: what is left out because of that is told as such.
#[test]
fn f57_federated_authorities_that_cannot_be_distinguished_in_time_have_an_event_of_their_own() {
    let place = Place::new();
    let agent = place.agent().start().unwrap();
    let genuine = Authority::new("other.org", false).unwrap();
    let twin = |identifier| genuine.twin(identifier).unwrap();
    let mut all: Vec<Authority> = (0..60).map(|_| twin(KeyIdentifier::OfItsKey)).collect();
    all.extend([genuine.clone(), twin(KeyIdentifier::Copied)]);
    let bundle = all.iter().flat_map(|authority| authority.root().to_vec()).collect();
    let mut message = agent.response();
    message.federated_bundles.insert("other.org".to_owned(), bundle);
    agent.misbehave(Misbehaviour::Reply(vec![message.clone()]));
    let pgsvid = place.run_with("[files]\nfederated_bundles = true\n");
    let (event, _) = said(&pgsvid, Mark::default(), "federated-unproven");
    assert!(event["left_out"].as_str().unwrap().starts_with("other.org: 1 of "), "{event}");
    assert!(event["fix"].is_string(), "{event}");
    published(&pgsvid, Mark::default(), 1);
    assert_eq!(count(&pgsvid, "federated-left-out"), 0);
    // Our own root, and all of them but one.
    assert_eq!(place.read("svid_bundle.pem").matches("BEGIN CERTIFICATE").count(), 62);
}

fn other() -> Entry {
    Entry::new(OTHER).dns("other.example.org")
}

/// SPIRE promises no order, and lists SVIDs again after each change of an entry.
#[test]
fn f36_of_several_svids_the_published_one_is_kept_in_any_order() {
    let place = Place::new();
    let agent = two(&place, ["", ""]);
    let pgsvid = place.run(&[]);
    let (event, _) = said(&pgsvid, Mark::default(), "several-identities");
    let offered = event["offered"].as_str().unwrap();
    assert!(offered.contains(crate::place::ID) && offered.contains(OTHER), "{event}");
    let mut mark = published(&pgsvid, Mark::default(), 1);
    for (generation, first) in [(2, other()), (3, workload()), (4, other())] {
        let ours = usize::from(generation != 3);
        let second = if ours == 1 { workload() } else { other() };
        agent.set_entries([first, second]).unwrap();
        mark = published_as(&pgsvid, mark, generation, &agent.svids()[ours]);
        assert!(place.holds(&agent.svids()[ours]));
    }
    assert_eq!((count(&pgsvid, "several-identities"), count(&pgsvid, "identity-changed")), (1, 0));

    // What is on disk counts for the next process, too.
    assert!(pgsvid.terminate(LIMIT).success());
    agent.set_entries([other(), workload()]).unwrap();
    let pgsvid = place.run(&[]);
    published_as(&pgsvid, Mark::default(), 1, &agent.svids()[1]);
    assert!(place.holds(&agent.svids()[1]));
    assert_eq!(count(&pgsvid, "identity-changed"), 0);
}

#[test]
fn f37_another_spiffe_id_is_a_warning_and_what_is_printed_pins_one() {
    let place = Place::new();
    let agent = two(&place, ["", ""]);
    let pgsvid = place.run(&[]);
    let (choice, _) = said(&pgsvid, Mark::default(), "several-identities");
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.set_entries([other()]).unwrap();
    let (event, mark) = said(&pgsvid, mark, "identity-changed");
    assert_eq!((&event["level"], &event["spiffe_id"]), (&"WARN".into(), &OTHER.into()));
    assert_eq!(event["before"], crate::place::ID);
    let mark = published(&pgsvid, mark, 2);
    // It is what is published now, so it stays.
    agent.set_entries([workload(), other()]).unwrap();
    published_as(&pgsvid, mark, 3, &agent.svids()[1]);
    assert!(pgsvid.terminate(LIMIT).success());

    // The remedy names the one that was taken then.
    let fix = choice["fix"].as_str().unwrap();
    let flag = fix.split_once('(').unwrap().1.trim_end_matches(')');
    let line = fix.split_once("set ").unwrap().1.split(" (").next().unwrap();
    let pinned: Vec<&str> = flag.split(' ').collect();
    let (table, key) = line.split_once('.').unwrap();
    let configuration = format!("[{table}]\n{key}\n");
    for by_flag in [true, false] {
        let pgsvid = if by_flag { place.run(&pinned) } else { place.run_with(&configuration) };
        published(&pgsvid, Mark::default(), 1);
        assert!(place.holds(&agent.svids()[0]), "{fix}");
        assert_eq!(count(&pgsvid, "several-identities"), 0);
        assert!(pgsvid.terminate(LIMIT).success());
        agent.rotate().unwrap();
    }
}

/// An entry for each DNS name: an agent sends several SVIDs with one SPIFFE ID.
#[test]
fn f38_of_several_svids_with_one_id_the_one_that_keeps_the_names_is_taken() {
    let place = Place::new();
    let entry = |name: &str| Entry::new(crate::place::ID).dns(name);
    let agent = place
        .agent_without_entries()
        .entry(entry("db.example.org"))
        .entry(entry("ro.example.org"))
        .start()
        .unwrap();
    let pgsvid = place.run(&[]);
    let (event, _) = said(&pgsvid, Mark::default(), "several-identities");
    assert!(event["fix"].as_str().unwrap().contains("hint"), "{event}");
    let mark = published(&pgsvid, Mark::default(), 1);
    agent.set_entries([entry("ro.example.org"), entry("db.example.org")]).unwrap();
    let mark = published_as(&pgsvid, mark, 2, &agent.svids()[1]);
    // With a hint it can be told which.
    let hinted = || entry("ro.example.org").hint("ro");
    agent.set_entries([hinted(), entry("db.example.org").hint("rw")]).unwrap();
    let (event, _) = said(&pgsvid, mark, "several-identities");
    assert!(event["fix"].as_str().unwrap().contains("--hint 'rw'"), "{event}");
    published_as(&pgsvid, mark, 3, &agent.svids()[1]);
    assert_eq!(count(&pgsvid, "identity-names-lost"), 0);
}

#[test]
fn f39_a_name_that_is_configured_and_missing_is_reported_and_the_svid_is_published() {
    let place = Place::new();
    let agent =
        place.agent_without_entries().entry(workload().dns("*.example.com")).start().unwrap();
    // A pattern stands for one label.
    let names = "svid.dns_names";
    let configuration = "[svid]\ndns_names = ['DB.example.org', 'ro.example.com', 'a.b.example.com', 'localhost']\n";
    let pgsvid = place.run_with(configuration);
    let (event, _) = said(&pgsvid, Mark::default(), "identity-names-missing");
    assert_eq!(
        (&event["level"], &event["missing"]),
        (&"WARN".into(), &"a.b.example.com, localhost".into())
    );
    assert!(event["message"].as_str().unwrap().contains(names));
    let mut mark = published(&pgsvid, Mark::default(), 1);
    // It is not repeated at each renewal.
    for generation in 2..5 {
        agent.rotate().unwrap();
        mark = published_as(&pgsvid, mark, generation, &agent.svid());
    }
    assert_eq!(count(&pgsvid, "identity-names-missing"), 1);
    assert!(pgsvid.terminate(LIMIT).success());
    let pgsvid = place.run(&["--dns-names", "db.example.org,ro.example.com"]);
    agent.rotate().unwrap();
    published_as(&pgsvid, Mark::default(), 1, &agent.svid());
    assert_eq!(count(&pgsvid, "identity-names-missing"), 0);
}
