//! B70: another process took one of PostgreSQL's addresses before PostgreSQL started, and `check` did not report it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{sleep, spawn};
use std::time::Duration;

use serde_json::Value;
use test_support::{LIMIT, Setup};

use crate::attacks::PGSVID;
use crate::judged::{check, found, one};

/// The address that the stranger has taken.
const STRANGERS: &str = "127.0.0.2";

/// A stranger listens at the address, and sends `answer` to each client after a while; PostgreSQL is started with these addresses.
fn started_beside_a_stranger(
    listen_addresses: &str,
    answer: &'static [u8],
    after: Duration,
) -> Setup {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    let strangers = TcpListener::bind((STRANGERS, setup.cluster.port())).unwrap();
    spawn(move || {
        for client in strangers.incoming() {
            let mut client = client.unwrap();
            spawn(move || {
                let asked = client.read(&mut [0; 8]);
                sleep(after);
                asked.and_then(|_| client.write_all(answer))
            });
        }
    });
    setup.cluster.set_conf(&format!("listen_addresses = '{listen_addresses}'"));
    setup.cluster.start();
    setup
}

/// Whether a finding of that severity and code is about the address.
fn is_reported(report: &Value, severity: &str, code: &str, address: &str) -> bool {
    found(report, severity, code)
        .iter()
        .any(|found| found["text"].as_str().unwrap().contains(address))
}

#[track_caller]
fn fails(setup: &Setup, expected: &[(&str, &str)]) {
    let report = check(setup, &[]);
    one(&report, "ok", "verdict-current");
    for (code, address) in expected {
        let address = format!("{address}:{}", setup.cluster.port());
        assert!(is_reported(&report, "failure", code, &address), "{code} {address}: {report:#}");
    }
}

#[test]
fn b70_a_stranger_at_an_address_of_the_machine_is_reported_where_postgresql_should_have_all() {
    let setup = started_beside_a_stranger("*", b"N", Duration::ZERO);
    assert!(setup.cluster.log().contains("could not bind IPv4 address \"0.0.0.0\""));
    fails(&setup, &[("verdict-unreachable", "127.0.0.1"), ("verdict-plaintext", STRANGERS)]);
    // 127.0.0.1 is PostgreSQL's, and the other addresses are not.
    setup.cluster.set_conf("listen_addresses = '0.0.0.0,127.0.0.1'");
    setup.cluster.restart();
    fails(&setup, &[("verdict-plaintext", STRANGERS)]);
}

#[test]
fn b70_a_stranger_who_is_slow_or_says_nothing_is_reported() {
    let addresses = format!("127.0.0.1,{STRANGERS}");
    let slow = started_beside_a_stranger(&addresses, b"N", Duration::from_millis(1500));
    fails(&slow, &[("verdict-plaintext", STRANGERS)]);
    let silent = started_beside_a_stranger(&addresses, b"", Duration::ZERO);
    fails(&silent, &[("verdict-unreachable", STRANGERS)]);
}

#[test]
fn b70_an_address_that_nobody_has_is_a_warning() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    // No machine has this address: its network is reserved for documentation (RFC 5737).
    setup.cluster.set_conf("listen_addresses = '127.0.0.1,192.0.2.77'");
    setup.cluster.start();
    let report = check(&setup, &[]);
    assert!(is_reported(&report, "warning", "verdict-unreachable", "192.0.2.77"), "{report:#}");
    assert!(found(&report, "failure", "verdict-unreachable").is_empty(), "{report:#}");
}
