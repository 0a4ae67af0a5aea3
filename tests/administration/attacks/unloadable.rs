//! A29, A30: an agent, another trust domain or the operator brings a certificate that OpenSSL does not load. PostgreSQL would
//! refuse to reload with it, and could not start again.

use std::fs;

use dev_agent::Authority;
use serde_json::Value;
use test_support::{LIMIT, Mode, Pgsvid, Setup};

use crate::attacks::PGSVID;

/// An authority whose names hold a `VisibleString`: no type for a name, but only OpenSSL minds.
fn unloadable(domain: &str) -> Vec<u8> {
    let mut der = Authority::new(domain, false).unwrap().root().to_vec();
    // PrintableString, six bytes.
    let value = b"\x13\x06SPIFFE";
    while let Some(at) = der.windows(value.len()).position(|window| window == value) {
        der[at] = 26;
    }
    der
}

fn pem(der: &[u8]) -> String {
    let pem = test_support::openssl(&["base64"], der);
    let text = String::from_utf8(pem).unwrap();
    format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
}

/// What is published, as PostgreSQL reads it.
fn published(setup: &Setup) -> Vec<Vec<u8>> {
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"]
        .map(|name| fs::read(setup.files.join(name)).unwrap())
        .into()
}

/// PostgreSQL starts from what is on disk, and reloads it.
#[track_caller]
fn assert_starts(setup: &Setup) {
    setup.cluster.restart();
    let log = setup.cluster.log_mark();
    setup.cluster.sighup();
    setup.cluster.wait_for_log(log, LIMIT, "received SIGHUP");
    setup.cluster.sql("postgres", "postgres", "SELECT 1");
    let log = setup.cluster.log_since(log);
    assert!(!log.contains("could not load"), "{log}");
}

fn says(event: &Value, field: &str, words: &[&str]) -> bool {
    event[field].as_str().is_some_and(|text| words.iter().all(|word| text.contains(word)))
}

/// Waits until a message is rejected because of this certificate.
#[track_caller]
fn assert_rejected(pgsvid: &Pgsvid, part: &str, certificate: &str) {
    pgsvid.wait_for_event(LIMIT, |event| says(event, "reason", &[part, certificate, "issuer: "]));
}

#[test]
fn a29_postgresql_does_not_start_with_such_an_authority() {
    let setup = Setup::new(PGSVID);
    let _pgsvid = setup.start();
    let bundle = setup.agent.svid().bundle_pem() + &pem(&unloadable("example.org"));
    let file = setup.other.write("bundle.pem", bundle, 0o644);
    setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", file.display()));
    setup.cluster.stop(Mode::Fast);
    let log = setup.cluster.try_start().unwrap_err();
    assert!(log.contains("could not load root certificate file"), "{log}");
}

#[test]
fn a29_a_message_with_a_certificate_that_openssl_does_not_load_changes_nothing() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let before = published(&setup);

    let mut message = setup.agent.response();
    message.svids[0].bundle.extend(unloadable("example.org"));
    setup.agent.push(&message);
    assert_rejected(&pgsvid, "bundle", "certificate 2");
    assert_eq!(published(&setup), before);
    assert_starts(&setup);

    let mut message = setup.agent.response();
    message.svids[0].x509_svid.extend(unloadable("example.org"));
    setup.agent.push(&message);
    assert_rejected(&pgsvid, "chain", "certificate 2");
    assert_eq!(published(&setup), before);
    assert_starts(&setup);

    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

#[test]
fn a29_extra_authorities_that_openssl_does_not_load_are_refused_at_start_and_left_out_later() {
    let setup = Setup::new(PGSVID);
    let good = Authority::new("corporate.example", false).unwrap().root_pem();
    let bad = format!("{good}{}", pem(&unloadable("corporate.example")));
    let words = ["extra.pem", "certificate 2", "issuer: "];
    let file = setup.other.write("extra.pem", &bad, 0o644);
    setup.configure(&format!("[files]\nextra_authorities = ['{}']", file.display()));
    let refused = setup.spawn();
    assert!(!refused.wait_exit(LIMIT).success());
    let lines = refused.lines().join("\n");
    assert!(words.iter().all(|word| lines.contains(word)), "{lines}");

    setup.other.write("extra.pem", good, 0o644);
    let pgsvid = setup.start();
    let before = published(&setup);
    setup.other.write("extra.pem", bad, 0o644);
    let kept = pgsvid.event("extra-authorities-kept");
    assert!(says(&kept, "error", &words), "{kept}");
    assert_eq!(published(&setup), before);
    assert_starts(&setup);
}

#[test]
fn a30_a_federated_authority_that_openssl_does_not_load_is_left_out_by_name() {
    let setup = Setup::new(PGSVID);
    setup.configure("[files]\nfederated_bundles = true");
    let pgsvid = setup.start();
    let good = Authority::new("good.org", false).unwrap();
    let mut message = setup.agent.response();
    // Beside one that would do: a bundle is taken whole, or not at all.
    let bad = [Authority::new("bad.org", false).unwrap().root(), &unloadable("bad.org")].concat();
    message.federated_bundles.insert("bad.org".to_owned(), bad);
    message.federated_bundles.insert("good.org".to_owned(), good.root().to_vec());
    setup.agent.push(&message);
    pgsvid.wait_for_event(LIMIT, |event| {
        says(event, "left_out", &["bad.org: ", "certificate 2", "issuer: "])
            && !says(event, "left_out", &["good.org"])
    });
    pgsvid.current(2);
    let bundle = fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap();
    assert_eq!(bundle, setup.agent.svid().bundle_pem() + &good.root_pem());
    assert_starts(&setup);
}
