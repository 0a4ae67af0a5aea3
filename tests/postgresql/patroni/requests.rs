//! Who may ask Patroni to reload.

use test_support::{LIMIT, Signal, eventually};

use super::{PART, STRICT, configure, prepared, running, started};

#[test]
fn r11_a_rest_api_with_a_password_is_told_and_asked_with_it() {
    let restapi = format!("{STRICT}authentication: {{username: admin, password: 'to:p'}}\n");
    let (setup, patroni, etcd) = prepared(&restapi, PART, "");
    let node = started(setup, patroni, etcd);
    node.current("patroni", 1);
    node.setup.agent.rotate().unwrap();
    node.told("patroni-authentication");

    let file = node.setup.other.write("password", "to:p\n", 0o600);
    let keys = format!("username = 'admin'\npassword_file = '{}'\n", file.display());
    configure(&node.setup, &node.patroni, PART, &keys);
    node.pgsvid.terminate(test_support::LIMIT);
    let again = node.setup.spawn();
    again.wait_for_event(test_support::LIMIT * 2, |event| {
        event["event"] == "rotated" && event["consumer"] == "patroni"
    });
    node.assert_serves_newest();
}

#[test]
fn r11_the_password_is_not_sent_to_a_server_whose_authority_is_out() {
    let restapi = "authentication: {username: admin, password: 'to:p'}\n";
    let (setup, patroni, etcd) = prepared(restapi, PART, "");
    let node = started(setup, patroni, etcd);
    node.current("patroni", 1);
    let first = node.setup.agent.svid().leaf().to_vec();
    // Patroni keeps the first certificate, because nobody may ask it.
    node.setup.agent.rotate().unwrap();
    node.told("patroni-authentication");
    node.setup.agent.prepare_authority().unwrap();
    node.setup.agent.activate_authority().unwrap();
    node.setup.agent.rotate().unwrap();
    node.setup.agent.revoke_authority().unwrap();
    node.setup.agent.rotate().unwrap();
    let newest = node.setup.agent.svid().leaf().to_vec();
    eventually(LIMIT * 2, "PostgreSQL serves the newest", || {
        node.setup.cluster.served().leaf == newest
    });

    // Another process of pgsvid does not know that the first certificate was once published.
    let file = node.setup.other.write("password", "to:p\n", 0o600);
    let keys = format!("username = 'admin'\npassword_file = '{}'\n", file.display());
    configure(&node.setup, &node.patroni, PART, &keys);
    node.pgsvid.terminate(LIMIT);
    let again = node.setup.spawn();
    let told = again.wait_for_event(LIMIT * 2, |event| event["code"] == "patroni-untrusted");
    assert_eq!(told["level"], "ERROR", "{told}");
    // With the password it would have reloaded.
    assert!(!again.lines().iter().any(|line| line.contains("\"patroni-reloads\"")));
    assert_eq!(node.patroni.served().unwrap(), first);
    // What it says helps.
    assert!(told["fix"].as_str().unwrap().contains("systemctl reload patroni"), "{told}");
    node.patroni.signal(Signal::HUP);
    again.wait_for_event(LIMIT * 2, |event| {
        event["event"] == "rotated" && event["consumer"] == "patroni"
    });
    node.assert_serves_newest();
}

#[test]
fn r12_an_address_that_patroni_does_not_admit_is_told() {
    let restapi = format!("{STRICT}allowlist: [192.0.2.1]\n");
    let node = running(&restapi, PART, "");
    node.setup.agent.rotate().unwrap();
    let told = node.told("patroni-denied");
    assert_eq!(told["verdict"], "still-old", "{told}");
    assert_eq!(node.requests(), 0);
    // What it says helps.
    node.patroni.configure(
        &format!("{STRICT}allowlist: [192.0.2.1, 127.0.0.1]\n"),
        &node.patroni.alone(),
        "",
    );
    node.patroni.signal(test_support::Signal::HUP);
    node.current("patroni", 2);
    node.assert_serves_newest();
}
