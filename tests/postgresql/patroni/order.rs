//! When Patroni is asked: after PostgreSQL's proof, and never while something is wrong.

use test_support::{LIMIT, Patroni, eventually};

use super::{PART, STRICT, check, is, prepared, running, started, status};

#[test]
fn r02_no_set_waits_for_a_patroni_that_is_down_and_it_is_looked_at_when_it_is_back() {
    let node = running(STRICT, PART, "");
    node.patroni.kill();
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 2);
    node.told("patroni-not-running");
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 3);
    node.patroni.start();
    node.current("patroni", 3);
    node.assert_serves_newest();
    // It has read the set at its start.
    assert_eq!(node.requests(), 0);
}

#[test]
fn r03_a_set_that_postgresql_refuses_never_reaches_patroni() {
    let node = running(STRICT, PART, "");
    let first = node.setup.agent.svid().leaf().to_vec();
    // PostgreSQL cannot load this set: its ssl_cert_file names a file that does not exist.
    node.setup.cluster.sql(
        "postgres",
        "postgres",
        "ALTER SYSTEM SET ssl_cert_file = '/nowhere.pem'",
    );
    node.setup.agent.rotate().unwrap();
    let told = node.told("patroni-waits");
    assert_eq!(told["verdict"], "still-old", "{told}");
    assert_eq!(node.requests(), 0);
    assert_eq!(node.patroni.served().unwrap(), first);
    // Patroni's REST API is no reason to take the database out of service.
    let missing = status(&node.setup)["missing"].clone();
    assert!(!missing.to_string().contains("patroni"), "{missing}");

    node.setup.cluster.sql(
        "postgres",
        "postgres",
        "ALTER SYSTEM RESET ssl_cert_file; SELECT pg_reload_conf()",
    );
    node.current("postgres", 2);
    node.current("patroni", 2);
    node.assert_serves_newest();
    assert_eq!(node.requests(), 1);
}

#[test]
fn r09_the_next_set_waits_until_patroni_has_loaded_the_one_before() {
    let node = running(STRICT, PART, "");
    for generation in 2..=4 {
        node.setup.agent.rotate().unwrap();
        node.pgsvid.wait_for_event(LIMIT, |event| {
            event["event"] == "patroni-reloads" && event["generation"] == generation
        });
        // The next one comes while Patroni still has to load this one.
    }
    node.current("patroni", 4);
    let lines = node.pgsvid.lines();
    let place = |consumer: &str, generation: u64| {
        let is_it = |line: &String| {
            line.contains("\"event\":\"rotated\"")
                && line.contains(&format!("\"consumer\":\"{consumer}\""))
                && line.contains(&format!("\"generation\":{generation},"))
        };
        lines.iter().position(is_it).unwrap_or_else(|| panic!("{consumer} {generation}"))
    };
    for generation in 1..4 {
        assert!(place("patroni", generation) < place("postgres", generation + 1), "{generation}");
    }
    assert!(!lines.iter().any(|line| line.contains("attempt-interrupted")));
}

#[test]
fn r07_a_certificate_of_others_is_reported_and_patroni_is_never_asked() {
    let (setup, patroni, etcd) = prepared("", "", "");
    let other = setup.agent.issue(&dev_agent::Entry::new("spiffe://example.org/other")).unwrap();
    let path = setup.other.path().display().to_string();
    setup.other.write("svid.pem", other.chain_pem(), 0o644);
    setup.other.write("svid_key.pem", other.key_pem(), 0o600);
    setup.other.write("svid_bundle.pem", other.bundle_pem(), 0o644);
    patroni.configure(&Patroni::with_files(std::path::Path::new(&path)), &patroni.alone(), "");
    let node = started(setup, patroni, etcd);
    let told = node.told("verdict-foreign");
    assert_eq!(told["verdict"], "foreign", "{told}");
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 2);
    let found = check(&node.setup);
    assert!(is(&found, "verdict-foreign", "failure"), "{found:?}");
    assert_eq!(node.requests(), 0);
    assert_eq!(node.patroni.served().unwrap(), other.leaf());
}

#[test]
fn r08_a_rest_api_without_tls_is_reported() {
    let (setup, patroni, etcd) = prepared("", "", "");
    let node = started(setup, patroni, etcd);
    let told = node.told("verdict-plaintext");
    assert_eq!(told["verdict"], "plaintext", "{told}");
    // What it says helps: the printed lines, and a restart of Patroni.
    let files = Patroni::with_files(node.setup.files.path());
    node.patroni.configure(&files, &node.patroni.alone(), "");
    node.patroni.kill();
    node.patroni.start();
    node.current("patroni", 1);
    eventually(LIMIT, "it is ready", || status(&node.setup)["ready"] == true);
}
