//! F55: a chain that is larger than a client of rustls reads: the server is there, and psql reads it.

use test_support::{Psql, Setup};

use crate::judged::{admin, check, findings, found, one, reload, started_with};

fn connects(setup: &Setup) -> bool {
    let port = setup.cluster.port();
    let text = format!("host=127.0.0.1 port={port} user=app dbname=postgres sslmode=require");
    Psql::new().arg("-w").arg(text).script("SELECT 1").run().status.success()
}

#[test]
fn f55_a_handshake_that_is_too_large_is_no_server_that_is_down() {
    let setup = started_with("hostssl all app 127.0.0.1/32 trust");
    admin(&setup, "CREATE ROLE app LOGIN");
    let (mut chain, root) = (setup.agent.svid().chain_pem(), setup.agent.svid().bundle_pem());
    // 80 KiB in DER: OpenSSL's clients read a hundred, and rustls 64.
    while chain.len() < 110_000 {
        chain.push_str(&root);
    }
    let file = setup.other.write("chain.pem", &chain, 0o644);
    setup.cluster.set_conf(&format!("ssl_cert_file = '{}'", file.display()));
    reload(&setup);
    assert!(connects(&setup), "psql reads it");
    let report = check(&setup, &[]);
    let told = one(&report, "failure", "handshake-too-large");
    assert!(told["cause"].is_string() && told["fix"].is_string(), "{told:#}");
    assert!(findings(&report).iter().all(|it| it["code"] != "verdict-unreachable"), "{report:#}");
    // The setting is what it comes from, and its command heals both.
    crate::judged::paste(one(&report, "failure", "ssl-setting-elsewhere"));
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "handshake-too-large").is_empty(), "{report:#}");
    one(&report, "ok", "verdict-current");
}
