//! A10: PostgreSQL has loaded an authority with the name of the published one, but another key: anyone with that key can log
//! in as any role. Its name in the handshake is the right one.

use dev_agent::{Authority, KeyIdentifier, Svid};
use test_support::{LIMIT, Pgsvid, Setup, Signal, eventually};

use crate::attacks::PGSVID;

const PROTOCOLS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// A server that speaks this version alone, and reads its authorities from a file of its own.
fn setup(protocol: &str, more: &str) -> Setup {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| {
            cluster
                .hba("hostssl all all 127.0.0.1/32 cert")
                .conf(&format!("ssl_min_protocol_version = '{protocol}'"))
                .conf(&format!("ssl_max_protocol_version = '{protocol}'"))
        })
        .create();
    let authorities = setup.other.join("ca.pem");
    setup.cluster.set_conf(&format!("ssl_ca_file = '{}'\n{more}", authorities.display()));
    setup.configure("[postgres]\nverify_every = '1s'");
    setup
}

fn authorities_by(pgsvid: &Pgsvid, generation: u64) -> String {
    let event = pgsvid.current(generation);
    event["authorities_by"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a10_an_authority_of_the_same_name_with_another_key_is_not_taken_for_the_published_one() {
    for protocol in PROTOCOLS {
        for identifier in [KeyIdentifier::OfItsKey, KeyIdentifier::Copied] {
            let setup = setup(protocol, "");
            let twin = setup.agent.authority().twin(identifier).unwrap();
            assert_ne!(twin.root(), setup.agent.authority().root());
            setup.other.write("ca.pem", twin.root_pem(), 0o644);
            let pgsvid = setup.spawn();
            setup.wait_published();
            setup.cluster.start();
            // While PostgreSQL starts, its reload is pending, which is no alarm.
            pgsvid.wait_for_event(LIMIT, |event| {
                event["level"] == "ERROR" && event["verdict"] == "old-authorities"
            });
            assert_eq!(pgsvid.events("rotated").len(), 0);

            let genuine = setup.agent.authority().root_pem();
            setup.other.write("ca.pem", genuine, 0o644);
            assert_eq!(authorities_by(&pgsvid, 1), "key", "{protocol} {identifier:?}");
        }
    }
}

/// The authority is exchanged while pgsvid runs, and loaded by somebody else's reload.
#[test]
fn a10_an_authority_that_is_exchanged_later_is_noticed_by_the_next_look() {
    let setup = setup("TLSv1.3", "");
    setup.other.write("ca.pem", setup.agent.authority().root_pem(), 0o644);
    let pgsvid = setup.start();
    let twin = setup.agent.authority().twin(KeyIdentifier::Copied).unwrap();
    setup.other.write("ca.pem", twin.root_pem(), 0o644);
    let mark = pgsvid.mark();
    setup.cluster.sighup();
    let (event, _) = pgsvid.alarm_after(mark);
    assert_eq!(event["verdict"], "old-authorities", "{event}");
}

/// What is shown and taken is no line in the server's log, and what it refuses for a reason of its own is one for each leaf.
#[test]
fn a10_the_proof_is_quiet_in_the_servers_log() {
    for protocol in PROTOCOLS {
        let setup = setup(protocol, "");
        setup.other.write("ca.pem", setup.agent.authority().root_pem(), 0o644);
        let pgsvid = setup.start();
        let log = setup.cluster.log_mark();
        look_again(&setup, &pgsvid, 3);
        assert_eq!(refusals(&setup, log), 0, "{protocol}: {}", setup.cluster.log_since(log));

        // The leaf is revoked: for clients alone, and PostgreSQL still serves it.
        let revoked: Svid = setup.agent.svid();
        let list = setup.agent.authority().revocation_list(&[&revoked]).unwrap();
        let file = setup.other.write("crl.pem", list, 0o644);
        setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", file.display()));
        setup.cluster.sighup();
        eventually(LIMIT, "the leaf is refused", || refusals(&setup, log) == 1);
        look_again(&setup, &pgsvid, 3);
        assert_eq!(refusals(&setup, log), 1, "{protocol}: {}", setup.cluster.log_since(log));

        setup.agent.rotate().unwrap();
        assert_eq!(authorities_by(&pgsvid, 2), "key", "{protocol}");
    }
}

/// A server with the revocation list of another authority alone takes no certificate of ours from a client, whatever key it
/// has: that is no sign of another authority.
#[test]
fn a10_a_revocation_list_of_another_authority_is_no_alarm() {
    for protocol in PROTOCOLS {
        let setup = setup(protocol, "");
        let corporate = Authority::new("corporate.example", false).unwrap();
        let list = setup.other.write("crl.pem", corporate.revocation_list(&[]).unwrap(), 0o644);
        setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", list.display()));
        setup.other.write("ca.pem", setup.agent.authority().root_pem(), 0o644);
        let pgsvid = setup.spawn();
        setup.wait_published();
        setup.cluster.start();
        assert_eq!(authorities_by(&pgsvid, 1), "names", "{protocol}");
    }
}

/// PostgreSQL's settings name the bundle, and it has refused the reload that would have loaded it: it asks for no certificate.
#[test]
fn a61_a_server_that_has_not_loaded_the_bundle_that_it_names_is_not_current() {
    let setup = setup("TLSv1.3", "");
    setup.cluster.set_conf("ssl_ca_file = ''");
    let pgsvid = setup.start();
    assert_eq!(authorities_by(&pgsvid, 1), "nothing");
    let bundle = setup.other.write("ca.pem", setup.agent.authority().root_pem(), 0o644);
    let absent = setup.other.join("absent.pem");
    setup.cluster.set_conf(&format!(
        "ssl_ca_file = '{}'\nssl_crl_file = '{}'",
        bundle.display(),
        absent.display()
    ));
    let log = setup.cluster.log_mark();
    setup.cluster.sighup();
    eventually(LIMIT, "the reload is refused", || {
        setup.cluster.log_since(log).contains("SSL configuration was not reloaded")
    });
    let mark = pgsvid.mark();
    pgsvid.signal(Signal::HUP);
    let (event, _) = pgsvid.alarm_after(mark);
    assert_eq!(event["verdict"], "old-authorities", "{event}");

    setup.cluster.set_conf("ssl_crl_file = ''");
    setup.cluster.sighup();
    pgsvid.wait_for_event(LIMIT, |event| {
        event["event"] == "rotated" && event["authorities_by"] == "key"
    });
}

/// Less is proven than before: the verdict stays, and somebody is told.
#[test]
fn a61_a_server_that_asks_for_no_certificate_any_more_is_reported() {
    let setup = setup("TLSv1.3", "");
    setup.other.write("ca.pem", setup.agent.authority().root_pem(), 0o644);
    let pgsvid = setup.start();
    assert_eq!(authorities_by(&pgsvid, 1), "key");
    setup.cluster.set_conf("ssl_ca_file = ''");
    setup.cluster.sighup();
    pgsvid.wait_for_event(LIMIT, |event| {
        event["level"] == "WARN" && event["authorities_by"] == "nothing"
    });
    assert!(!pgsvid.lines().iter().any(|line| line.contains("ERROR")), "{:?}", pgsvid.lines());
}

/// Waits until the server was looked at so often.
fn look_again(setup: &Setup, pgsvid: &Pgsvid, times: usize) {
    setup.cluster.sql("postgres", "postgres", "ALTER SYSTEM SET log_connections = on");
    setup.cluster.sighup();
    let mark = setup.cluster.log_mark();
    eventually(LIMIT, "it is looked at again", || {
        setup.cluster.log_since(mark).matches("connection received: host=127.0.0.1").count() > times
    });
    assert!(pgsvid.is_running());
}

fn refusals(setup: &Setup, mark: usize) -> usize {
    setup.cluster.log_since(mark).matches("could not accept SSL connection").count()
}
