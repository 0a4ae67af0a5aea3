//! Authorities that change: Patroni reads them only together with another certificate.

use super::{PART, STRICT, running};

#[test]
fn r05_changed_authorities_are_asked_for_once_and_reported_as_pending_until_the_next_certificate() {
    let node = running(STRICT, PART, "");
    node.setup.agent.prepare_authority().unwrap();
    node.current("postgres", 2);
    let told = node.pgsvid.event("patroni-authorities-pending");
    assert_eq!(told["code"], "patroni-authorities-pending", "{told}");
    assert_eq!(told["generation"], 2, "{told}");
    // It is asked, because the path is another one; no handshake shows the result.
    test_support::eventually(test_support::LIMIT, "it is asked", || node.requests() == 1);
    let pending = |node: &super::Node| {
        node.status()["findings"].to_string().contains("patroni-authorities-pending")
    };
    test_support::eventually(test_support::LIMIT, "the status has it", || pending(&node));

    node.setup.agent.rotate().unwrap();
    node.current("patroni", 3);
    assert_eq!(node.requests(), 2);
    test_support::eventually(test_support::LIMIT, "it is over", || !pending(&node));
}

#[test]
fn r10_a_certificate_of_an_authority_that_patroni_has_not_loaded_gets_there() {
    let node = running(STRICT, PART, "");
    // The new authority, and a certificate of it, before Patroni had a reason to read the new bundle.
    node.setup.agent.prepare_authority().unwrap();
    node.current("postgres", 2);
    node.setup.agent.activate_authority().unwrap();
    node.setup.agent.rotate().unwrap();
    node.current("postgres", 3);
    node.current("patroni", 3);
    node.assert_serves_newest();
    node.setup.agent.revoke_authority().unwrap();
    node.current("postgres", 4);
    node.setup.agent.rotate().unwrap();
    node.current("patroni", 5);
    node.assert_serves_newest();
}
