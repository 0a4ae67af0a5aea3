//! Symptoms of PostgreSQL's TLS files and settings.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::thread;
use std::time::Duration;

use dev_agent::{Entry, Flaw};
use test_support::{Account, LIMIT, Setup, eventually, openssl};

use crate::troubleshooting::{
    BINARY, admin, check, client, publish, reload, setup, started, symptom,
};

#[test]
fn files_that_postgresql_refuses() {
    let setup = setup();
    started(&setup);
    let other = setup.agent.issue(&Entry::new(Setup::SPIFFE_ID).dns("localhost")).unwrap();
    let chain = other.chain_pem();
    let directory = &setup.other;
    directory.write("other_key.pem", other.key_pem(), 0o600);
    directory.write("empty.pem", "", 0o600);
    directory.write("cut.pem", &chain[..chain.len() / 2], 0o600);
    directory.subdirectory("directory");
    let encrypt = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret"];
    directory.write("passphrase.pem", openssl(&encrypt, other.key_pem()), 0o600);
    for (setting, file, words, cause) in [
        ("ssl_key_file", "other_key.pem", "key values mismatch", "key-pair"),
        (
            "ssl_cert_file",
            "missing.pem",
            "could not load server certificate file",
            "missing.pem, set by",
        ),
        ("ssl_cert_file", "empty.pem", "no start line", "tls-file-empty"),
        ("ssl_cert_file", "cut.pem", "bad end line", "tls-file-damaged"),
        (
            "ssl_key_file",
            "passphrase.pem",
            "cannot be reloaded because it requires a passphrase",
            "key-passphrase",
        ),
        ("ssl_key_file", "directory", "is not a regular file", "tls-file-not-regular"),
        ("ssl_ca_file", "empty.pem", "could not load root certificate file", "tls-file-empty"),
    ] {
        let path = directory.join(file);
        admin(&setup.cluster, &format!("ALTER SYSTEM SET {setting} = '{}'", path.display()));
        let mark = setup.cluster.log_mark();
        setup.cluster.sighup();
        // What is wrong with half a certificate, OpenSSL's versions word differently.
        let wanted = if file == "cut.pem" { "cut.pem\": " } else { words };
        let logged = setup.cluster.wait_for_log(mark, LIMIT, wanted);
        let words = if logged.contains("short header") { "short header" } else { words };
        symptom(words, &logged);
        // As a superuser it also sees what overrides the configuration file.
        let checked = check(&setup, &["--user", "postgres"]);
        checked.fails(cause);
        checked.fails("set by ALTER SYSTEM");
        admin(&setup.cluster, &format!("ALTER SYSTEM RESET {setting}"));
        reload(&setup.cluster);
    }
}

#[test]
fn keys_that_postgresql_refuses() {
    let setup = setup();
    started(&setup);
    let key = setup.files.join("svid_key.pem");
    let account = Account::server();
    let mut cases = vec![(account.uid(), 0o640, "has group or world access", "key-mode-refused")];
    // Root alone can give files away.
    if rustix::process::geteuid().is_root() {
        cases.extend([
            (12345, 0o600, "must be owned by the database user or root", "key-owner-refused"),
            (0, 0o600, "Permission denied", "key-unreadable"),
        ]);
    }
    for (owner, mode, words, cause) in cases {
        if owner != account.uid() {
            chown(&key, Some(owner), Some(owner)).unwrap();
        }
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let mark = setup.cluster.log_mark();
        setup.cluster.sighup();
        symptom(words, &setup.cluster.wait_for_log(mark, LIMIT, words));
        check(&setup, &[]).fails(cause);
    }
}

#[test]
fn a_server_that_does_not_start() {
    let setup = setup();
    symptom(
        "FATAL:  could not load server certificate file",
        &setup.cluster.try_start().unwrap_err(),
    );
    check(&setup, &[]).fails("nothing-published");
}

#[test]
fn tls_turned_off() {
    let setup = setup();
    started(&setup);
    let psql = || client(&setup.cluster, setup.files.path(), "app", "").run().stderr;
    admin(&setup.cluster, "ALTER SYSTEM SET ssl = off");
    reload(&setup.cluster);
    symptom("server does not support SSL, but SSL was required", &psql());
    let checked = check(&setup, &[]);
    checked.fails("ssl-off");
    checked.warns("verdict-plaintext");

    // On again, with a file that cannot be loaded: SHOW says on, and the server says no.
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_key_file = '/nowhere/key.pem'");
    admin(&setup.cluster, "ALTER SYSTEM SET ssl = on");
    reload(&setup.cluster);
    symptom("server does not support SSL, but SSL was required", &psql());
    assert_eq!(admin(&setup.cluster, "SHOW ssl"), "on");
    check(&setup, &[]).fails("ssl_key_file is /nowhere/key.pem");
}

#[test]
fn clients_certificates_are_not_asked_for() {
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    started(&setup);
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_ca_file = ''");
    reload(&setup.cluster);
    symptom(
        "client certificates can only be checked if a root certificate store is available",
        &client(&setup.cluster, setup.files.path(), "app", "").run().stderr,
    );
    let checked = check(&setup, &[]);
    checked.warns("ssl-setting-empty");
    checked.fails("client-certificates-not-requested");
}

/// A server with these lines of configuration, and a role that logs in by its certificate.
fn with(lines: &[&str]) -> Setup {
    let hba = "hostssl all localhost 127.0.0.1/32 cert";
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| lines.iter().fold(cluster.hba(hba), |cluster, line| cluster.conf(line)))
        .create();
    started(&setup);
    admin(&setup.cluster, "CREATE ROLE localhost LOGIN");
    setup
}

/// The server tells a client before it writes to its log.
#[track_caller]
fn logged(setup: &Setup, words: &str) {
    symptom(words, &setup.cluster.wait_for_log(0, LIMIT, words));
}

#[test]
fn other_tls_than_the_probe_or_the_clients_speak() {
    let psql = |setup: &Setup| client(&setup.cluster, setup.files.path(), "localhost", "").run();
    let setup = with(&[
        "ssl_max_protocol_version = 'TLSv1.2'",
        "ssl_ciphers = 'ECDHE-ECDSA-AES256-SHA384'",
    ]);
    assert!(psql(&setup).status.success());
    check(&setup, &[]).warns("verdict-unverifiable");
    logged(&setup, "no shared cipher");

    let setup = with(&["ssl_ecdh_curve = 'secp256k1'"]);
    assert!(!psql(&setup).status.success());
    logged(&setup, "no suitable key share");
    check(&setup, &[]).fails("ssl-groups-uncommon");

    if setup.cluster.version() >= 18 {
        let setup = with(&["ssl_tls13_ciphers = 'TLS_AES_128_CCM_SHA256'"]);
        assert!(!psql(&setup).status.success());
        logged(&setup, "no shared cipher");
        check(&setup, &[]).fails("ssl-suites-uncommon");
    }

    let setup = with(&["ssl_ecdh_curve = 'secp384r1'", "ssl_max_protocol_version = 'TLSv1.2'"]);
    assert!(!psql(&setup).status.success());
    logged(&setup, "wrong curve");
    check(&setup, &[]).fails("client-certificates-refused");
}

#[test]
fn revocation_lists_of_the_server() {
    let setup = with(&[]);
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_crl_file = '/nowhere/a.crl'");
    reload(&setup.cluster);
    logged(&setup, "could not load SSL certificate revocation list file");
    check(&setup, &[]).fails("ssl-setting-refused");

    let svid = setup.agent.svid();
    let list = setup.agent.authority().revocation_list(&[&svid]).unwrap();
    let list = setup.other.write("a.crl", list, 0o644);
    let set = format!("ALTER SYSTEM SET ssl_crl_file = '{}'", list.display());
    admin(&setup.cluster, &set);
    reload(&setup.cluster);
    symptom(
        "certificate revoked",
        &client(&setup.cluster, setup.files.path(), "localhost", "").run().stderr,
    );
    check(&setup, &[]).fails("client-certificates-refused");
}

#[test]
fn svids_that_are_for_servers_or_clients_alone() {
    let purpose = |last| vec![vec![1, 3, 6, 1, 5, 5, 7, 3, last]];
    let entry = |last| {
        Entry::new(Setup::SPIFFE_ID).dns("localhost").with(Flaw::ExtendedKeyUsage(purpose(last)))
    };
    for (last, more, code) in [
        (1, &["--as-client", "localhost"][..], "svid-not-for-clients"),
        (2, &[][..], "svid-not-for-servers"),
    ] {
        let setup = Setup::builder(BINARY)
            .cluster(|cluster| cluster.hba("hostssl all localhost 127.0.0.1/32 cert"))
            .create();
        setup.agent.set_entries([entry(last)]).unwrap();
        started(&setup);
        let psql = client(&setup.cluster, setup.files.path(), "localhost", "").run();
        // The server tells the client, or is told by it.
        let words = "unsupported certificate";
        if psql.stderr.contains(words) {
            symptom(words, &psql.stderr);
        } else {
            logged(&setup, words);
        }
        check(&setup, more).fails(code);
    }
}

#[test]
fn another_authority_for_clients() {
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    started(&setup);
    let foreign = dev_agent::Authority::new("example.com", false).unwrap();
    let foreign = foreign.issue(&Entry::new("spiffe://example.com/x")).unwrap();
    let bundle = setup.other.write("foreign.pem", foreign.bundle_pem(), 0o644);
    let set = format!("ALTER SYSTEM SET ssl_ca_file = '{}'", bundle.display());
    admin(&setup.cluster, &set);
    reload(&setup.cluster);
    symptom(
        "unknown ca",
        &client(&setup.cluster, setup.files.path(), "localhost", "").run().stderr,
    );
    let checked = check(&setup, &["--as-client", "localhost"]);
    checked.fails("ssl-setting-elsewhere");
    checked.warns("verdict-old-authorities");
    checked.fails("login-certificate-refused");
}

#[test]
fn a_certificate_that_expires() {
    let entry = || Entry::new(Setup::SPIFFE_ID).dns("localhost").ttl(Duration::from_secs(6));
    let setup =
        Setup::builder(BINARY).cluster(|cluster| cluster.hba("host all all all trust")).create();
    setup.agent.set_entries([entry()]).unwrap();
    started(&setup);
    eventually(LIMIT, "psql finds the certificate expired", || {
        client(&setup.cluster, setup.files.path(), "app", "")
            .run()
            .stderr
            .contains("certificate verify failed")
    });
    symptom(
        "certificate verify failed",
        &client(&setup.cluster, setup.files.path(), "app", "").run().stderr,
    );
    let checked = check(&setup, &[]);
    checked.fails("svid-expired");
    assert!(checked.error.is_empty(), "{}", checked.error);
}

#[test]
fn a_new_set_that_is_not_served() {
    let setup = setup();
    started(&setup);
    setup.agent.rotate().unwrap();
    publish(&setup);
    let checked = check(&setup, &[]);
    let words = "refused the new files and still serves";
    symptom(words, checked.finding("failure", words)["text"].as_str().unwrap());
    checked.fails_with("verdict-still-old", "was not told to reload");
}

#[test]
fn a_rotation_that_is_under_way_is_no_failure() {
    let setup =
        Setup::builder(BINARY).cluster(|cluster| cluster.conf("log_connections = on")).create();
    started(&setup);
    setup.agent.rotate().unwrap();
    publish(&setup);
    let mark = setup.cluster.log_mark();
    let checked = thread::scope(|scope| {
        let checked = scope.spawn(|| check(&setup, &[]));
        // It has looked, and not at the set that is loaded in the end.
        setup.cluster.wait_for_log(mark, LIMIT, "connection received: host=127.0.0.1");
        setup.agent.rotate().unwrap();
        publish(&setup);
        setup.cluster.sighup();
        checked.join().unwrap()
    });
    checked.finding("ok", "verdict-current");
}

#[test]
fn the_command_line_overrides_a_setting() {
    let foreign = test_support::Directory::new();
    let path = foreign.join("svid_bundle.pem");
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.arg("-c", &format!("ssl_ca_file={}", path.display())))
        .create();
    foreign.write("svid_bundle.pem", setup.agent.svid().bundle_pem(), 0o644);
    started(&setup);
    let checked = check(&setup, &[]);
    let words = "set by the postmaster's command line (-c)";
    symptom(words, checked.finding("failure", words)["text"].as_str().unwrap());
    checked.fails_with("ssl-setting-elsewhere", words);
}

#[test]
fn another_server_on_the_port() {
    let (setup, other) = (setup(), setup());
    started(&setup);
    other.agent.set_entries([Entry::new("spiffe://example.org/another").dns("localhost")]).unwrap();
    started(&other);
    let address = other.cluster.address();
    let checked = check(&setup, &["--verify", &address]);
    let words = "serves a certificate that is not pgsvid's";
    symptom(words, checked.finding("failure", words)["text"].as_str().unwrap());
    checked.fails_with("verdict-foreign", "it is another server or a pooler");
}
