//! Who may ask Patroni to reload.

use dev_agent::{Authority, Entry};
use test_support::{LIMIT, Patroni, Program, Setup, Signal, eventually};

use super::{PART, STRICT, configure, prepared, running, started};

#[test]
fn r11_a_rest_api_with_a_password_is_reported_and_asked_with_it() {
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

/// An authority for clients can sign the own name, too.
#[test]
fn b117_the_password_is_not_sent_to_a_server_whose_certificate_is_of_an_extra_authority() {
    let (setup, patroni, etcd) = prepared("", "", "");
    let clients = Authority::new("example.org", false).unwrap();
    let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let svid = clients.issue(&entry).unwrap();
    let own = setup.other.subdirectory("own");
    for (name, text, mode) in [
        ("own/svid.pem", svid.chain_pem(), 0o644),
        ("own/svid_key.pem", svid.key_pem(), 0o600),
        ("own/svid_bundle.pem", clients.root_pem(), 0o644),
    ] {
        setup.other.write(name, text, mode);
    }
    let restapi = format!(
        "authentication: {{username: admin, password: geheim}}\n{}",
        Patroni::with_files(&own)
    );
    patroni.configure(&restapi, &patroni.alone(), "");
    let password = setup.other.write("password", "geheim\n", 0o600);
    let keys = format!("username = 'admin'\npassword_file = '{}'\n", password.display());
    let extra =
        format!("[files]\nextra_authorities = ['{}']\n", own.join("svid_bundle.pem").display());
    configure(&setup, &patroni, &extra, &keys);
    let node = started(setup, patroni, etcd);
    node.setup.agent.rotate().unwrap();
    node.told("patroni-untrusted");
    assert_eq!(node.requests(), 0);
}

/// Patroni ignores a password that it does not demand.
#[test]
fn b126_a_rest_api_that_admits_everybody_is_a_failure_with_and_without_a_password() {
    let password = "username = 'admin'\npassword_file = '/dev/null'\n";
    let node = running("", PART, "");
    assert!(super::is(&super::check(&node.setup), "patroni-open", "failure"));
    configure(&node.setup, &node.patroni, PART, password);
    assert!(super::is(&super::check(&node.setup), "patroni-open", "failure"));
    // What the remedy says.
    let restapi = format!("{STRICT}authentication: {{username: admin, password: 'to:p'}}\n");
    node.patroni.configure(&restapi, &node.patroni.alone(), "");
    node.patroni.signal(Signal::HUP);
    eventually(LIMIT * 2, "Patroni demands a password", || {
        !super::check(&node.setup).iter().any(|(code, _)| code == "patroni-open")
    });
}

/// By the lines that `setup patroni-yaml` prints.
#[test]
fn b119_of_workloads_of_the_trust_domain_only_the_nodes_may_change_the_cluster() {
    let allowed = "allowlist: [127.0.0.1]\nallowlist_include_members: true\n";
    let node = running(&format!("{STRICT}{allowed}"), PART, "");
    let found = super::check(&node.setup);
    assert!(super::is(&found, "patroni-open", "warning"), "{found:?}");
    let files = node.setup.files.path().display();
    let port = node.patroni.rest_port();
    let program = format!(
        "import http.client, ssl\n\
         context = ssl.create_default_context(cafile='{files}/svid_bundle.pem')\n\
         context.load_cert_chain('{files}/svid.pem', '{files}/svid_key.pem')\n\
         for source in '127.0.0.1', '127.0.0.2':\n    \
             for method, path in ('GET', '/config'), ('PATCH', '/config'):\n        \
                 api = http.client.HTTPSConnection('localhost', {port}, context=context, source_address=(source, 0))\n        \
                 api.request(method, path, '{{\"loop_wait\": 1}}' if method == 'PATCH' else None)\n        \
                 print(source, method, api.getresponse().status)\n"
    );
    let asked = Program::spawn("/usr/bin/python3", ["-c", &program], &[]);
    asked.wait_exit(LIMIT);
    let answers = asked.standard_output();
    let expected = "127.0.0.1 GET 200\n127.0.0.1 PATCH 200\n127.0.0.2 GET 200\n127.0.0.2 PATCH 403";
    assert_eq!(answers.trim_end(), expected, "{}", asked.standard_error());
}

#[test]
fn r12_an_address_that_patroni_does_not_admit_is_reported() {
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

/// What each reload of pgsvid needs is tried: its name and password, and whether its address is admitted. A Patroni that does not
/// admit pgsvid itself may admit others without a password.
#[test]
fn b135_check_tries_what_a_reload_needs() {
    let node = running(STRICT, PART, "");
    let check = || super::check(&node.setup);
    let restapi = |lines: &str| {
        node.patroni.configure(&format!("{STRICT}{lines}"), &node.patroni.alone(), "");
        node.patroni.signal(Signal::HUP);
    };
    let password = |text: &str| {
        let file = node.setup.other.write("password", text, 0o600);
        let keys = format!("username = 'admin'\npassword_file = '{}'\n", file.display());
        configure(&node.setup, &node.patroni, PART, &keys);
    };
    assert!(check().iter().all(|(_, severity)| severity != "failure"), "{:?}", check());
    restapi("authentication: {username: admin, password: 'to:p'}\n");
    eventually(LIMIT * 2, "a password is demanded, and none is given", || {
        super::is(&check(), "patroni-authentication", "failure")
    });
    password("wrong\n");
    assert!(super::is(&check(), "patroni-authentication", "failure"), "{:?}", check());
    password("to:p\n");
    assert!(check().iter().all(|(_, severity)| severity != "failure"), "{:?}", check());
    restapi("allowlist: [192.0.2.0/24]\n");
    eventually(LIMIT * 2, "the address is not admitted", || {
        super::is(&check(), "patroni-denied", "failure")
    });
    assert!(super::is(&check(), "patroni-open", "skipped"), "{:?}", check());
}
