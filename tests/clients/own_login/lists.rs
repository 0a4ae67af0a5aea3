//! Certificates that one side does not accept: authorities, names, revocation lists.

use dev_agent::{Authority, Entry};
use test_support::{Mark, Setup};

use super::{admitted, running, tables, told};
use crate::both::Both;

#[test]
fn g05_a_revoked_certificate_and_a_missing_list_are_distinguished() {
    let both = running("[client]");
    let (setup, client) = (&both.setup, both.client());
    let mark = client.mark();
    let of_client = setup.agent.svids().swap_remove(1);
    let list = |list: String| {
        let path = setup.other.write("list.pem", list, 0o644);
        setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", path.display()));
        setup.cluster.reload();
    };
    list(setup.agent.authority().revocation_list(&[&of_client]).unwrap());
    // The same certificate, with other authorities: SIGHUP makes pgsvid log in again.
    client.signal(test_support::Signal::HUP);
    let (event, mark) = told(client, mark, "refused", "login-certificate-refused");
    assert!(event["cause"].as_str().unwrap().contains("revocation list"), "{event}");
    setup.cluster.set_conf("ssl_crl_file = ''");
    setup.cluster.reload();
    setup.agent.rotate().unwrap();
    let (_, mark) = admitted(client, mark);
    list(Authority::new("other.org", false).unwrap().revocation_list(&[]).unwrap());
    setup.agent.rotate().unwrap();
    let (event, _) = told(client, mark, "refused", "login-certificate-refused");
    assert!(event["message"].as_str().unwrap().contains("unknown_ca"), "{event}");
}

#[test]
fn g06_a_server_of_another_authority_is_not_trusted() {
    let both = running("[client]");
    let (setup, client) = (&both.setup, both.client());
    let stranger = Authority::new("example.org", false).unwrap();
    let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let svid = stranger.issue(&entry).unwrap();
    for (name, text) in [("s.pem", svid.chain_pem()), ("s_key.pem", svid.key_pem())] {
        setup.cluster.write_file(name, &text);
    }
    setup.cluster.set_conf("ssl_cert_file = 's.pem'\nssl_key_file = 's_key.pem'");
    setup.cluster.reload();
    let mark = client.mark();
    setup.agent.rotate().unwrap();
    told(client, mark, "server-untrusted", "served-certificate-chain");
}

#[test]
fn g07_a_server_without_the_name_of_the_host_is_not_trusted_unless_the_mode_does_not_ask() {
    let client = |mode: &'static str| {
        move |setup: &Setup| {
            tables(setup, "[client]")
                .replace("host = 'localhost'", "host = 'db.example'")
                .replace("verify-full", mode)
        }
    };
    let both = Both::start_with_tables(client("verify-full"));
    let (event, _) =
        told(both.client(), Mark::default(), "server-untrusted", "served-certificate-name");
    assert!(event["cause"].as_str().unwrap().contains("has localhost, and not db.example"));
    let both = Both::start_with_tables(client("verify-ca"));
    admitted(both.client(), Mark::default());
}

#[test]
fn g19_versions_of_tls_that_the_options_and_the_server_do_not_share_are_a_refusal() {
    let both = running("ssl_min_protocol_version = 'TLSv1.3'\n[client]");
    let (setup, client) = (&both.setup, both.client());
    setup.cluster.set_conf("ssl_max_protocol_version = 'TLSv1.2'");
    setup.cluster.reload();
    let mark = client.mark();
    setup.agent.rotate().unwrap();
    told(client, mark, "refused", "server-tls-unspoken");
}
