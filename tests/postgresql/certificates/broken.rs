//! Files that are no set: the one before stays, and it is said why and what to do.

use std::process::Command;
use std::time::Duration;

use dev_agent::{Authority, Flaw};
use serde_json::Value;
use test_support::{Account, LIMIT, Mark, Program, openssl};

use super::place::{PGSVID, Place, issue_by, rejected, texts};

#[test]
fn z02_a_key_of_another_leaf_is_never_published() {
    let place = Place::new();
    let (first, next) = (place.issue(), place.issue());
    place.write(&first);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    place.certs.write("tls.key", next.key_pem(), 0o600);
    let event = rejected(&pgsvid, mark, "certificates-pair");
    // Who renews them is in the remedy.
    let fix = event["fix"].as_str().unwrap();
    let owner = format!("owner uid {}", place.setup.cluster.uid());
    assert!(fix.contains("tls.crt") && fix.contains(&owner), "{fix}");
    assert!(place.holds(&first));
    assert_eq!(place.setup.cluster.served().leaf, first.leaf());
    place.certs.write("tls.crt", next.chain_pem(), 0o600);
    place.serves(&pgsvid, mark, &next);
    pgsvid.event_after(mark, "certificates-accepted");
}

#[test]
fn z03_before_the_first_set_nothing_is_published_and_the_missing_file_is_reported() {
    let place = Place::new();
    let pgsvid = place.spawn();
    let event = rejected(&pgsvid, Mark::default(), "certificates-missing");
    assert!(event["reason"].as_str().unwrap().contains("tls.crt does not exist"), "{event}");
    let svid = place.issue();
    let [certificate, key, bundle] = texts(&svid);
    place.certs.write("tls.crt", certificate, 0o600);
    place.certs.write("tls.key", key, 0o600);
    let event = rejected(&pgsvid, Mark::default(), "certificates-missing");
    assert!(event["fix"].as_str().is_some(), "{event}");
    place.certs.write("ca.crt", bundle, 0o600);
    place.setup.wait_published();
    place.wait_holds(&svid);
}

#[test]
fn z04_a_file_that_pgsvid_may_not_read_is_reported_with_its_user() {
    let place = Place::new();
    let svid = place.issue();
    place.write(&svid);
    place.certs.write_owned("tls.key", svid.key_pem(), 0o600, 0, 0);
    let pgsvid = place.spawn();
    let event = rejected(&pgsvid, Mark::default(), "certificates-unreadable");
    let uid = format!("uid {}", place.setup.cluster.uid());
    assert!(event["fix"].as_str().unwrap().contains(&uid), "{event}");
    place.certs.write("tls.key", svid.key_pem(), 0o600);
    place.setup.wait_published();
    place.wait_holds(&svid);
}

#[test]
fn z05_der_and_keys_with_a_passphrase_are_reported_with_the_command_that_converts_them() {
    let place = Place::new();
    let svid = place.issue();
    place.write(&svid);
    let pgsvid = place.start();
    let key_with_passphrase = openssl(
        &["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:word"],
        svid.key_pem(),
    );
    for (name, content) in [
        ("tls.crt", svid.leaf().to_vec()),
        ("tls.key", svid.key.clone()),
        ("tls.key", key_with_passphrase),
    ] {
        let mark = pgsvid.mark();
        place.certs.write(name, &content, 0o600);
        let (code, command) = place.checked();
        assert_eq!(code, "certificates-format", "{name}");
        rejected(&pgsvid, mark, "certificates-format");
        // As it is printed; a passphrase is asked for.
        let command = command.unwrap();
        let converting = command.replace("openssl pkey -in", "openssl pkey -passin pass:word -in");
        let done = Command::new("sh")
            .args(["-c", &converting])
            .current_dir(place.setup.other.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
        let file = if command.contains("key.pem") { "key.pem" } else { "converted.pem" };
        let mut converted = std::fs::read_to_string(place.setup.other.join(file)).unwrap();
        if name == "tls.crt" {
            // DER held the leaf alone.
            let chain = svid.chain_pem();
            assert!(chain.starts_with(&converted), "{converted}");
            converted = chain;
        }
        place.certs.write(name, converted, 0o600);
        pgsvid.event_after(mark, "certificates-accepted");
        place.write(&svid);
        assert!(place.holds(&svid));
    }
}

#[test]
fn z06_an_expired_certificate_is_not_taken_and_the_one_before_stays() {
    let place = Place::new();
    let first = place.issue();
    place.write(&first);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    let expired = place.issue_with(|entry| entry.with(Flaw::Expired(Duration::from_secs(3600))));
    place.write(&expired);
    rejected(&pgsvid, mark, "certificates-expired");
    assert!(place.holds(&first));
    let (code, _) = place.checked();
    assert_eq!(code, "certificates-expired");
    let next = place.issue();
    place.write(&next);
    place.serves(&pgsvid, mark, &next);
}

#[test]
fn z07_a_bundle_that_does_not_vouch_for_the_certificate_is_not_published() {
    let place = Place::new();
    let first = place.issue();
    place.write(&first);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    let other = Authority::new("corporate.example", false).unwrap();
    place.certs.write("ca.crt", other.root_pem(), 0o600);
    rejected(&pgsvid, mark, "certificates-not-signed-by-bundle");
    assert!(place.holds(&first));
    // The new authority beside the old one is a set at once, and then its leaf is.
    place.certs.write("ca.crt", first.bundle_pem() + &other.root_pem(), 0o600);
    pgsvid.event_after(mark, "certificates-accepted");
    let mark = pgsvid.mark();
    let next = issue_by(&other, |entry| entry);
    place.write(&next);
    place.serves(&pgsvid, mark, &next);
}

impl Place {
    /// The first failure that `check` finds with the files, and its command.
    fn checked(&self) -> (String, Option<String>) {
        let report = self.check();
        let sections = report["sections"].as_array().unwrap();
        let found = sections
            .iter()
            .filter(|section| section["group"] == "certificates")
            .flat_map(|section| section["findings"].as_array().unwrap())
            .find(|finding| finding["severity"] == "failure");
        let found = found.unwrap_or_else(|| panic!("{report}"));
        let command = found["command"].as_str().map(str::to_owned);
        (found["code"].as_str().unwrap().to_owned(), command)
    }

    /// What `check` says, in JSON.
    pub(super) fn check(&self) -> Value {
        let usual = self.setup.arguments();
        let kept =
            usual.chunks(2).filter(|pair| pair[0] != "--endpoint" && pair[0] != "--log-format");
        let arguments = ["check", "--format", "json"].into_iter();
        let arguments = arguments.chain(kept.flatten().map(String::as_str));
        let program = Program::spawn_as(Account::server(), PGSVID, arguments, &[]);
        program.wait_exit(LIMIT);
        let report = serde_json::from_str(&program.standard_output());
        report.unwrap_or_else(|_| panic!("{}", program.standard_error()))
    }
}
