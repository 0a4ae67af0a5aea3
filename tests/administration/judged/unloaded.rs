//! What `check` says of configuration files that PostgreSQL has not loaded, or cannot load.

use std::os::unix::fs::PermissionsExt as _;

use test_support::Account;

use crate::judged::{check, found, one, started_with};

const ROLES: [&[&str]; 2] = [&[], &["--user", "postgres"]];

#[test]
fn b139_what_the_next_reload_would_break_is_a_failure_before_it() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    for (line, back, code) in [
        ("ssl_ciphers = 'NOPE'", "ssl_ciphers = 'HIGH:MEDIUM:+3DES:!aNULL'", "ssl-setting-refused"),
        ("SSL_ecdh_curve = 'nope'", "ssl_ecdh_curve = 'prime256v1'", "ssl-setting-refused"),
        ("ssl_crl_file = '/nonexistent'", "ssl_crl_file = ''", "ssl-setting-refused"),
        (
            "ssl_max_protocol_version = 'tlsv1.1'",
            "ssl_max_protocol_version = ''",
            "ssl-setting-refused",
        ),
        ("ssl = 'no'", "ssl = TRUE", "ssl-off"),
    ] {
        setup.cluster.set_conf(line);
        for user in ROLES {
            let report = check(&setup, user);
            one(&report, "failure", code);
            // Its reload would break TLS.
            let told = one(&report, "warning", "postgresql-conf-not-loaded");
            assert!(told["command"].is_null(), "{line} {user:?}: {told:#}");
        }
        setup.cluster.set_conf(back);
        for user in ROLES {
            let report = check(&setup, user);
            assert!(found(&report, "failure", code).is_empty(), "{back} {user:?}: {report:#}");
            let told = one(&report, "warning", "postgresql-conf-not-loaded");
            assert!(told["command"].is_string(), "{back} {user:?}: {told:#}");
        }
    }
}

#[test]
fn b140_configuration_files_that_cannot_be_loaded_are_a_failure_for_every_role() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let data = setup.cluster.data_directory();
    let conf = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
    setup.cluster.write_file("closed.conf", "work_mem = 5MB\n");
    if !Account::server().uid().eq(&0) {
        let closed = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(data.join("closed.conf"), closed).unwrap();
    }
    for line in [
        "include 'nofile.conf'",
        "include_dir 'nodir'",
        "include 'closed.conf'",
        "include 'postgresql.conf'",
        "foo bar baz",
        "ssl_ca_file",
    ] {
        setup.cluster.write_file("postgresql.conf", &format!("{conf}{line}\n"));
        for user in ROLES {
            let report = check(&setup, user);
            one(&report, "failure", "postgresql-conf-error");
        }
    }
    setup
        .cluster
        .write_file("postgresql.conf", &format!("{conf}include_if_exists 'nofile.conf'\n"));
    for user in ROLES {
        let report = check(&setup, user);
        assert!(found(&report, "failure", "postgresql-conf-error").is_empty(), "{report:#}");
    }
}

/// Pasted first and alone, the command about ssl made a server that does not start again.
#[test]
fn b151_the_remedy_about_ssl_comes_after_those_about_its_files() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    setup.cluster.set_conf("ssl = off\nssl_cert_file = 'nowhere.crt'");
    crate::judged::reload(&setup);
    let report = check(&setup, &["--user", "postgres"]);
    let codes =
        crate::judged::findings(&report).into_iter().filter(|it| it["severity"] == "failure");
    let codes: Vec<&str> = codes.map(|it| it["code"].as_str().unwrap()).collect();
    let at = |wanted: &str| codes.iter().position(|code| *code == wanted).unwrap();
    assert!(at("ssl-setting-elsewhere") < at("ssl-off"), "{codes:?}");
    assert!(one(&report, "failure", "ssl-off")["cause"].is_string());
}
