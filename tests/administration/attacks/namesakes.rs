//! A64: an authority of another trust domain, or of the operator's, has the name of a certificate of ours. OpenSSL finds it
//! first, and refuses every client of ours.

use std::fs;
use std::time::{Duration, SystemTime};

use dev_agent::{Authority, KeyIdentifier};
use pgsvid::timing;
use test_support::{LIMIT, Pgsvid, Setup, openssl};

use crate::attacks::PGSVID;

/// Our own client's role: its certificate is the published one, and this is its DNS name.
const ROLE: &str = "localhost";

/// An agent with an intermediate, which a client sends, and a server that lets clients in by their certificates.
fn setup(configuration: impl FnOnce(&Setup) -> String) -> (Setup, Pgsvid) {
    let setup = Setup::builder(PGSVID)
        .agent(|agent| agent.intermediate(true))
        .cluster(|cluster| cluster.hba("hostssl postgres localhost 127.0.0.1/32 cert"))
        .create();
    setup.configure(&configuration(&setup));
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    (setup, pgsvid)
}

/// Whether our own client gets in.
fn login(setup: &Setup) -> Result<String, String> {
    let output = setup.cluster.client(setup.files.path(), ROLE, "").script("SELECT 1").run();
    if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
}

fn day(distance: u64) -> SystemTime {
    timing::now() + Duration::from_secs(distance * 24 * 3600)
}

/// What can be made of our intermediate's name, with or without its key.
fn namesakes(ours: &Authority) -> Vec<(&'static str, Vec<u8>)> {
    let foreign = Authority::new("other.org", false).unwrap();
    let yesterday = timing::now() - Duration::from_secs(24 * 3600);
    vec![
        ("another key", ours.twin(KeyIdentifier::Copied).unwrap().root().to_vec()),
        ("our key, by an authority that is not there", foreign.vouch_for(ours, day(1)).unwrap()),
        ("our key, expired", foreign.vouch_for(ours, yesterday).unwrap()),
        ("another case of letters", other_case(ours)),
    ]
}

/// A twin whose name has small letters: OpenSSL compares names without a difference between the two.
fn other_case(ours: &Authority) -> Vec<u8> {
    let mut twin = ours.twin(KeyIdentifier::Copied).unwrap().root().to_vec();
    while let Some(at) = twin.windows(6).position(|window| window == b"SPIFFE") {
        twin[at..at + 6].copy_from_slice(b"spiffe");
    }
    twin
}

fn pem(der: &[u8]) -> String {
    String::from_utf8(openssl(&["x509", "-inform", "DER"], der)).unwrap()
}

#[test]
fn a64_postgresql_refuses_our_own_client_where_such_an_authority_is_published() {
    let (setup, _pgsvid) = setup(|_| String::new());
    assert_eq!(login(&setup), Ok("1".to_owned()));
    for (what, namesake) in namesakes(&setup.agent.authority()) {
        let bundle = setup.agent.svid().bundle_pem() + &pem(&namesake);
        let file = setup.other.write("bundle.pem", bundle, 0o644);
        setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", file.display()));
        setup.cluster.restart();
        assert!(login(&setup).is_err(), "{what}");
    }
}

#[test]
fn a64_a_federated_authority_that_could_be_taken_for_one_of_ours_is_left_out_by_name() {
    let (setup, pgsvid) = setup(|_| "[files]\nfederated_bundles = true".to_owned());
    let good = Authority::new("other.org", false).unwrap();
    let mut generation = 1;
    for (what, namesake) in namesakes(&setup.agent.authority()) {
        let mut message = setup.agent.response();
        let bundle = [good.root(), &namesake].concat();
        message.federated_bundles.insert("other.org".to_owned(), bundle);
        setup.agent.push(&message);
        if generation == 1 {
            generation += 1;
            pgsvid.current(generation);
        }
        pgsvid.wait_for_event(LIMIT, |event| {
            event["event"] == "federated-left-out"
                && event["left_out"].as_str().is_some_and(|text| {
                    text.starts_with("other.org: ") && text.contains(&short_serial(&namesake))
                })
        });
        assert_eq!(login(&setup), Ok("1".to_owned()), "{what}");
    }
    // The rest of that domain's is there.
    let bundle = fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap();
    assert_eq!(bundle, setup.agent.svid().bundle_pem() + &good.root_pem());
}

/// Which a key identifier tells from ours, as OpenSSL sees it.
#[test]
fn a64_an_authority_of_the_same_name_with_a_key_identifier_of_its_own_is_published() {
    let (setup, pgsvid) = setup(|_| "[files]\nfederated_bundles = true".to_owned());
    let other = setup.agent.authority().twin(KeyIdentifier::OfItsKey).unwrap();
    setup.agent.federate_raw("spiffe://other.org", other.root().to_vec());
    pgsvid.current(2);
    let bundle = fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap();
    assert_eq!(bundle, setup.agent.svid().bundle_pem() + &other.root_pem());
    assert_eq!(login(&setup), Ok("1".to_owned()));
    // The very intermediate of ours is no obstacle either.
    let ours = setup.agent.authority().intermediate().unwrap().to_vec();
    setup.agent.federate_raw("spiffe://other.org", ours);
    pgsvid.current(3);
    assert_eq!(login(&setup), Ok("1".to_owned()));
    assert_eq!(pgsvid.events("federated-left-out").len(), 0);
}

#[test]
fn a64_an_extra_authority_that_could_be_taken_for_one_of_ours_is_left_out() {
    let corporate = Authority::new("corporate.example", false).unwrap();
    let (setup, pgsvid) = setup(|setup| {
        let (_, namesake) = &namesakes(&setup.agent.authority())[0];
        let extra = corporate.root_pem() + &pem(namesake);
        let file = setup.other.write("extra.pem", extra, 0o644);
        format!("[files]\nextra_authorities = ['{}']", file.display())
    });
    let event = pgsvid.event("extra-authority-left-out");
    assert!(event["subject"].as_str().unwrap().contains("O=SPIFFE"), "{event}");
    let bundle = fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap();
    assert_eq!(bundle, setup.agent.svid().bundle_pem() + &corporate.root_pem());
    assert_eq!(login(&setup), Ok("1".to_owned()));
    // It is told once.
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    assert_eq!(pgsvid.events("extra-authority-left-out").len(), 1);
}

/// An expired copy of our intermediate, and a twin of it, in our own bundle: with either, nobody of ours could connect.
#[test]
fn b13_what_hides_our_intermediate_in_our_own_bundle_is_not_published() {
    let (setup, pgsvid) = setup(|_| String::new());
    let ours = setup.agent.authority();
    let yesterday = timing::now() - Duration::from_secs(24 * 3600);
    let expired = ours.vouch_for(&ours, yesterday).unwrap();
    let twin = ours.twin(KeyIdentifier::Copied).unwrap().root().to_vec();
    let good = setup.agent.svid().bundle_pem();
    for hiding in [&expired, &twin] {
        // What is in the file if it is published as it is offered.
        let file = setup.other.write("bundle.pem", good.clone() + &pem(hiding), 0o644);
        setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", file.display()));
        setup.cluster.restart();
        assert!(login(&setup).is_err());
    }
    setup
        .cluster
        .set_conf(&format!("ssl_ca_file = '{}'", setup.files.join("svid_bundle.pem").display()));
    setup.cluster.restart();
    let mut message = setup.agent.response();
    let root = message.svids[0].bundle.clone();
    let serials = [short_serial(&expired), short_serial(&twin)];
    message.svids[0].bundle = [expired, root, twin].concat();
    setup.agent.push(&message);
    let left_out = |serial: String| {
        pgsvid.wait_for_event(LIMIT, |event| {
            event["event"] == "authority-left-out" && event["serial"] == serial.as_str()
        });
    };
    serials.into_iter().for_each(left_out);
    assert_eq!(login(&setup), Ok("1".to_owned()));
    assert_eq!(fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap(), good);
}

/// Two federated trust domains, one of which has copied the other's authority.
#[test]
fn b11_of_two_federated_authorities_that_look_alike_the_genuine_one_is_published() {
    let (setup, pgsvid) = setup(|_| "[files]\nfederated_bundles = true".to_owned());
    let genuine = Authority::new("other.org", false).unwrap();
    let copy = genuine.twin(KeyIdentifier::Copied).unwrap();
    setup.agent.federate_raw("spiffe://another.org", copy.root().to_vec());
    pgsvid.current(2);
    setup.agent.federate_raw("spiffe://other.org", genuine.root().to_vec());
    pgsvid.current(3);
    let event = pgsvid.event("federated-left-out");
    assert!(event["left_out"].as_str().unwrap().starts_with("another.org: "), "{event}");
    let bundle = fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap();
    assert_eq!(bundle, setup.agent.svid().bundle_pem() + &genuine.root_pem());
}

/// The first bytes of a serial number, as lines of the log have them.
fn short_serial(der: &[u8]) -> String {
    let text = String::from_utf8(openssl(&["x509", "-inform", "DER", "-noout", "-serial"], der));
    let text = text.unwrap().trim().replace("serial=", "").to_lowercase();
    [&text[..2], &text[2..4], &text[4..6]].join(":")
}
