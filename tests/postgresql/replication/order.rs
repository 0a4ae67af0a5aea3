//! The order of a change of the authority: what is said if it is not kept.

use serde_json::Value;
use test_support::{LIMIT, Mode, Setup, eventually};

use super::{PGSVID, status};

fn setup() -> Setup {
    let setup = Setup::new(PGSVID);
    let listen = setup.other.join("status.sock");
    setup.configure(&format!("[health]\nlisten = 'unix:{}'\n", listen.display()));
    setup
}

/// The finding in the status, and the metric.
fn told(setup: &Setup) -> (Option<Value>, String) {
    let status = status(&setup.other);
    let findings = status["targets"][0]["findings"].as_array().cloned().unwrap_or_default();
    let found = findings.into_iter().find(|found| found["code"] == "authority-order");
    let metrics = super::metrics(&setup.other);
    let line = metrics.lines().find(|line| line.starts_with("pgsvid_authority_order_kept "));
    (found, line.unwrap_or_default().to_owned())
}

/// pgsvid was down while the new authority was announced, so it comes with its first leaf.
#[test]
fn l05_a_leaf_of_an_authority_that_was_never_announced_is_reported_until_the_next_leaf() {
    let setup = setup();
    let pgsvid = setup.start();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.agent.prepare_root().unwrap();
    setup.agent.activate_authority().unwrap();
    setup.agent.rotate().unwrap();
    let pgsvid = setup.spawn();
    let event = pgsvid.event("authority-order-broken");
    assert_eq!(
        (event["level"].as_str(), &event["code"]),
        (Some("WARN"), &"authority-order".into())
    );
    pgsvid.current(1);
    let (found, metric) = told(&setup);
    let found = found.unwrap_or_else(|| panic!("{metric}"));
    assert!(found["fix"].is_string() && found["cause"].is_string(), "{found}");
    assert_eq!(metric, "pgsvid_authority_order_kept 0");
    // It serves the set, so it stays ready.
    let now = status(&setup.other);
    assert_eq!((&now["ready"], now["degraded"].as_array().unwrap().len()), (&true.into(), 1));
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    eventually(LIMIT, "the next leaf ends it", || {
        told(&setup) == (None, "pgsvid_authority_order_kept 1".to_owned())
    });
    assert_eq!(pgsvid.events("authority-order-broken").len(), 1);
}

/// The authority was announced, but PostgreSQL was down then.
#[test]
fn l06_a_leaf_of_an_authority_that_a_server_has_not_loaded_is_reported_with_its_name() {
    let setup = setup();
    let pgsvid = setup.start();
    setup.cluster.stop(Mode::Fast);
    setup.agent.prepare_root().unwrap();
    eventually(LIMIT, "both authorities are published", || {
        let bundle = std::fs::read_to_string(setup.files.join("svid_bundle.pem")).unwrap();
        bundle.matches("BEGIN CERTIFICATE").count() == 2
    });
    setup.agent.activate_authority().unwrap();
    setup.agent.rotate().unwrap();
    let event = pgsvid.event("authority-order-broken");
    assert!(event["cause"].as_str().unwrap().contains("postgres"), "{event}");
}

/// Announced, loaded, and only then used; a rotation of the leaf alone is no change.
#[test]
fn l07_a_change_in_the_right_order_is_not_reported() {
    let setup = setup();
    let pgsvid = setup.start();
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    setup.agent.prepare_root().unwrap();
    pgsvid.current(3);
    setup.agent.activate_authority().unwrap();
    setup.agent.rotate().unwrap();
    pgsvid.current(4);
    setup.agent.taint_authority().unwrap();
    setup.agent.revoke_authority().unwrap();
    setup.agent.rotate().unwrap();
    let hex = setup.agent.svid().serial_hex();
    let serial = format!("{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6]);
    eventually(LIMIT, "the newest is in force", || {
        pgsvid.events("rotated").last().is_some_and(|event| event["serial"] == serial)
    });
    assert_eq!(pgsvid.events("authority-order-broken").len(), 0);
    assert_eq!(told(&setup), (None, "pgsvid_authority_order_kept 1".to_owned()));
}
