//! Rotations of a running database: each is published, loaded and proven, and nothing else happens.

use std::fs;
use std::thread;
use std::time::Duration;

use dev_agent::{Entry, KeyType, Status, Svid};
use test_support::{LIMIT, Mark, Mode, Setup, Signal};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn fifty_rotations_in_a_row_are_served_one_by_one() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mark = setup.cluster.log_mark();
    for generation in 2..=51 {
        setup.agent.rotate().unwrap();
        let event = pgsvid.current(generation);
        let svid = setup.agent.svid();
        assert_eq!(event["serial"], short(&svid));
        assert_published_and_served(&setup, &svid);
    }
    let generations: Vec<_> =
        pgsvid.events("rotated").iter().map(|event| event["generation"].as_u64()).collect();
    assert_eq!(generations, (1..=51).map(Some).collect::<Vec<_>>());
    // The server has heard one reload for each of them, and has nothing to say of probes and sessions.
    let log = setup.cluster.log_since(mark);
    assert_eq!(reloads(&log), 50, "{log}");
    assert_eq!(log.lines().count(), 50, "{log}");
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn p21_of_a_probe_at_most_one_line_is_logged() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.conf("log_connections = on"));
    let setup = setup.create();
    let pgsvid = setup.start();
    let mark = setup.cluster.log_mark();
    for generation in 2..=6 {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
    }
    let log = setup.cluster.log_since(mark);
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    // One probe a rotation, one session, one reload: what PostgreSQL always logs of those, and no more.
    let probes = count("connection received: host=127.0.0.1");
    let sessions = count("connection received: host=[local]");
    let authenticated = count("connection authenticated: ");
    let authorized = count("connection authorized: user=pgsvid ");
    assert_eq!((probes, sessions, authorized, reloads(&log)), (5, 5, 5, 5), "{log}");
    let known = probes + sessions + authenticated + authorized + reloads(&log);
    assert_eq!(log.lines().count(), known, "{log}");
}

#[test]
fn w16_the_same_svid_again_is_neither_written_nor_loaded() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mark = setup.cluster.log_mark();
    let published = fs::read_link(setup.files.join("..data")).unwrap();
    for _ in 0..3 {
        let before = setup.agent.activity().messages;
        setup.agent.repeat();
        setup.agent.wait_until(LIMIT, |activity| activity.messages > before).unwrap();
    }
    // A new stream begins with the same SVID, too.
    setup.agent.end_streams(Some(&Status::unavailable("a test")));
    pgsvid.event("agent-connected");
    assert_eq!(fs::read_link(setup.files.join("..data")).unwrap(), published);

    setup.agent.rotate().unwrap();
    let event = pgsvid.current(2);
    // The second generation is the second SVID, and the server was signalled for it alone.
    assert_eq!(event["serial"], short(&setup.agent.svid()));
    let log = setup.cluster.log_since(mark);
    assert_eq!(reloads(&log), 1, "{log}");
    assert_eq!(pgsvid.events("rotated").len(), 2);
}

#[test]
fn k05_sighup_publishes_reloads_and_verifies_again() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mark = setup.cluster.log_mark();
    let published = fs::read_link(setup.files.join("..data")).unwrap();
    // Read at start only: what is wrong by now does not matter.
    setup.configure("nonsense");
    pgsvid.signal(Signal::HUP);
    pgsvid.event("asked-again");
    let event = pgsvid.current(2);
    assert_eq!(event["serial"], short(&setup.agent.svid()));
    assert_ne!(fs::read_link(setup.files.join("..data")).unwrap(), published);
    assert_eq!(reloads(&setup.cluster.log_since(mark)), 1);
    setup.agent.rotate().unwrap();
    pgsvid.current(3);
}

#[test]
fn k05_a_storm_of_sighups_is_as_limited_as_one_of_updates() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mark = setup.cluster.log_mark();
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        pgsvid.signal(Signal::HUP);
        thread::sleep(Duration::from_millis(2));
    }
    let most = usize::try_from(begun.elapsed().as_millis() / 100).unwrap() + 2;
    let signals = reloads(&setup.cluster.log_since(mark));
    assert!((2..=most).contains(&signals), "{signals} reloads, of {most} at most");
}

#[test]
fn leaves_of_all_key_types_are_served() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let kinds = [KeyType::Rsa2048, KeyType::EcP384, KeyType::Ed25519, KeyType::EcP256];
    for (generation, kind) in (2..).zip(kinds) {
        let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost").key_type(kind);
        setup.agent.set_entries([entry]).unwrap();
        pgsvid.current(generation);
        assert_published_and_served(&setup, &setup.agent.svid());
    }
}

#[test]
fn leaves_of_authorities_of_other_key_types_are_served() {
    for kind in [KeyType::Rsa2048, KeyType::EcP384] {
        let setup = Setup::builder(PGSVID).agent(|agent| agent.ca_key_type(kind).key_type(kind));
        let setup = setup.create();
        let _pgsvid = setup.start();
        assert_published_and_served(&setup, &setup.agent.svid());
    }
}

#[test]
fn a_certificate_that_changes_behind_our_back_is_noticed() {
    let setup = Setup::new(PGSVID);
    setup.configure("[postgres]\nverify_every = '1s'");
    let pgsvid = setup.start();
    let other = setup.agent.issue(&Entry::new(Setup::SPIFFE_ID).dns("localhost")).unwrap();
    let certificate = setup.other.write("other.pem", other.chain_pem(), 0o644);
    let key = setup.other.write("other_key.pem", other.key_pem(), 0o600);
    setup.cluster.set_conf(&format!(
        "ssl_cert_file = '{}'\nssl_key_file = '{}'",
        certificate.display(),
        key.display()
    ));
    setup.cluster.sighup();
    let alarm = pgsvid.wait_for_event(LIMIT, |event| event["level"] == "ERROR");
    let cause = alarm["cause"].as_str().unwrap();
    assert!(cause.contains("ssl_cert_file is ") && cause.contains("other.pem"), "{alarm}");
    assert_eq!(setup.cluster.served().leaf, other.leaf());

    // Who undoes it is believed as soon as it shows.
    let mark = pgsvid.mark();
    let files = setup.files.path().display();
    setup.cluster.set_conf(&format!(
        "ssl_cert_file = '{files}/svid.pem'\nssl_key_file = '{files}/svid_key.pem'"
    ));
    setup.cluster.sighup();
    let (event, _) = pgsvid.event_after(mark, "rotated");
    assert_eq!((&event["generation"], &event["verdict"]), (&1.into(), &"current".into()));
    assert_published_and_served(&setup, &setup.agent.svid());
}

#[test]
fn rotations_go_on_after_a_restart_of_the_server() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    for (mode, generation) in [(Mode::Fast, 2), (Mode::Immediate, 3), (Mode::Smart, 4)] {
        setup.cluster.stop(mode);
        setup.cluster.start();
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
        assert_published_and_served(&setup, &setup.agent.svid());
    }
    assert_quiet(&pgsvid);
}

#[test]
fn w06_an_agent_that_comes_back_at_the_same_path_is_met_again() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let mut mark = Mark::default();
    for (how, generation) in [(dev_agent::Stop::Terminate, 2), (dev_agent::Stop::Kill, 3)] {
        setup.agent.stop(how);
        mark = pgsvid.event_after(mark, "agent-disconnected").1;
        // A restarted agent issues a new SVID at once.
        setup.agent.restart().unwrap();
        pgsvid.current(generation);
        assert_published_and_served(&setup, &setup.agent.svid());
    }
    assert_quiet(&pgsvid);
}

/// The files are this SVID's, byte for byte, and so is what a new connection is shown.
#[track_caller]
fn assert_published_and_served(setup: &Setup, svid: &Svid) {
    let read = |name: &str| fs::read_to_string(setup.files.join(name)).unwrap();
    assert_eq!(read("svid.pem"), svid.chain_pem());
    assert_eq!(read("svid_key.pem"), svid.key_pem());
    assert_eq!(read("svid_bundle.pem"), svid.bundle_pem());
    assert_eq!(setup.cluster.served().leaf, svid.leaf());
}

/// Nothing happened for which somebody is to be woken.
#[track_caller]
fn assert_quiet(pgsvid: &test_support::Pgsvid) {
    let lines = pgsvid.lines();
    assert!(!lines.iter().any(|line| line.contains("\"level\":\"ERROR\"")), "{lines:#?}");
}

fn short(svid: &Svid) -> String {
    let hex = svid.serial_hex();
    format!("{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6])
}

fn reloads(log: &str) -> usize {
    log.lines().filter(|line| line.contains("received SIGHUP")).count()
}
