//! B15 and B22: TLS settings that make PostgreSQL refuse each reload, or each client, although the three files are right.

use serde_json::Value;
use test_support::{Account, Cluster, LIMIT, Setup};

use crate::judged::{PGSVID, admin, check, found, logs_as_json, one, reload, start, started_with};

const HBA: &str = "hostssl all app 127.0.0.1/32 cert";

/// Reloads with the lines at the end of the configuration, and says whether PostgreSQL refused what concerns TLS.
pub(crate) fn is_refused(setup: &Setup, lines: &str) -> bool {
    setup.cluster.set_conf(lines);
    let mark = setup.cluster.log_mark();
    reload(setup);
    // The postmaster says it after it has told the sessions.
    setup.cluster.reload();
    setup.cluster.log_since(mark).contains("SSL configuration was not reloaded")
}

fn failures(report: &Value) -> Vec<String> {
    let codes = ["ssl-setting-refused", "ssl-reload-refused"];
    let of = |code: &&str| found(report, "failure", code).into_iter().cloned().collect::<Vec<_>>();
    codes.iter().flat_map(of).map(|found| found["text"].to_string()).collect()
}

/// Each value on a real server: where PostgreSQL refuses it, `check` fails, and where it does not, `check` does not.
#[test]
fn b15_settings_that_postgresql_refuses_with_right_files_are_reported() {
    let setup = started_with(HBA);
    // OpenSSL 1.1.1 as first released accepts a list without a cipher for TLS 1.2. Only a log into which no client writes shows that.
    logs_as_json(&setup);
    let bad = setup.other.write("bad.pem", "x\n", 0o644).display().to_string();
    let groups = setup.cluster.version() >= 18;
    let mut refused = 0;
    for lines in [
        "ssl_ciphers = 'HIHG'".to_owned(),
        "ssl_ciphers = ''".to_owned(),
        "ssl_ciphers = 'HIGH!!aNULL'".to_owned(),
        "ssl_ciphers = '@SECLEVEL=9'".to_owned(),
        "ssl_ciphers = 'RC4'".to_owned(),
        "ssl_ciphers = 'HIGH:NOSUCH'".to_owned(),
        "ssl_ciphers = 'EECDH+AESGCM:EDH+AESGCM'".to_owned(),
        "ssl_ciphers = 'HIGH'\nssl_ecdh_curve = 'nosuch'".to_owned(),
        "ssl_ecdh_curve = 'secp384r1'".to_owned(),
        "ssl_ecdh_curve = 'prime256v1'\nssl_min_protocol_version = 'TLSv1.3'\nssl_max_protocol_version = 'TLSv1.2'".to_owned(),
        "ssl_min_protocol_version = 'TLSv1.2'".to_owned(),
        "ssl_crl_file = '/nowhere/crl.pem'".to_owned(),
        format!("ssl_crl_file = '{bad}'"),
        "ssl_crl_file = ''\nssl_max_protocol_version = ''".to_owned(),
    ] {
        let is_refused = is_refused(&setup, &lines);
        refused += u32::from(is_refused);
        for more in [&[][..], &["--user", "postgres"]] {
            let report = check(&setup, more);
            assert_eq!(!failures(&report).is_empty(), is_refused, "{lines} {more:?}: {report:#}");
            // The leaf is the same, and a handshake shows nothing of it.
            assert_eq!(found(&report, "ok", "verdict-current").len(), 1, "{lines}: {report:#}");
        }
    }
    assert!(refused >= if groups { 6 } else { 9 }, "{refused}");
}

/// A reload goes on without the file, and a start does not.
#[test]
fn b15_parameters_that_keep_the_next_start_from_happening_are_reported() {
    let setup = started_with(HBA);
    let bad = setup.other.write("bad.pem", "x\n", 0o644).display().to_string();
    for path in ["/nowhere/dh.pem", &bad] {
        assert!(!is_refused(&setup, &format!("ssl_dh_params_file = '{path}'")));
        let report = check(&setup, &[]);
        let text = one(&report, "failure", "ssl-setting-refused")["text"].to_string();
        assert!(text.contains("ssl_dh_params_file") && text.contains("start"), "{text}");
    }
    setup.cluster.stop(test_support::Mode::Fast);
    assert!(setup.cluster.try_start().unwrap_err().contains("DH parameters file"));
    setup.cluster.set_conf("ssl_dh_params_file = ''");
    setup.cluster.start();
    assert_eq!(failures(&check(&setup, &[])), [""; 0]);
}

/// ALTER SYSTEM has set it, and the printed command sets it back.
#[test]
fn b15_the_remedy_sets_the_setting_back() {
    let setup = started_with(HBA);
    admin(&setup, "ALTER SYSTEM SET ssl_ecdh_curve = 'nosuch'");
    reload(&setup);
    for more in [&[][..], &["--user", "postgres"]] {
        let report = check(&setup, more);
        let finding = one(&report, "failure", "ssl-setting-refused");
        assert!(finding["fix"].as_str().unwrap().contains("postgresql.auto.conf"), "{finding:#}");
    }
    crate::judged::paste(one(&check(&setup, &[]), "failure", "ssl-setting-refused"));
    reload(&setup);
    assert_eq!(failures(&check(&setup, &[])), [""; 0]);
}

/// What the daemon says of a refusal: the setting, where its role may see it.
#[test]
fn b15_the_daemon_names_the_setting_that_is_refused() {
    for (line, code) in [
        ("ssl_ciphers = 'HIHG'", "ssl-setting-refused"),
        // Of this nobody knows without OpenSSL.
        ("ssl_ciphers = 'RC4'", "ssl-setting-suspect"),
    ] {
        let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.hba(HBA)).create();
        let pgsvid = setup.start();
        admin(&setup, "GRANT pg_read_all_settings TO pgsvid");
        if setup.cluster.version() >= 16 {
            admin(&setup, "GRANT pg_read_all_settings TO pgsvid WITH INHERIT TRUE");
        }
        if !is_refused(&setup, line) {
            // OpenSSL 1.1.1 takes a list of no cipher for TLS 1.2.
            continue;
        }
        setup.agent.rotate().unwrap();
        let told = pgsvid.wait_for_event(LIMIT, |event| event["event"] == "not-in-force");
        assert_eq!(told["code"], code, "{told:#}");
        assert!(told["cause"].as_str().unwrap().contains("ssl_ciphers"), "{told:#}");
    }
}

/// PostgreSQL starts with an empty directory, and refuses every client.
#[test]
fn b22_revocation_lists_by_which_every_client_is_refused_are_reported() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all localhost 127.0.0.1/32 cert"))
        .create();
    start(&setup);
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let logs_in = || login(&setup.cluster, &setup);
    assert!(logs_in());
    assert!(found(&check(&setup, &[]), "failure", "client-certificates-refused").is_empty());
    let empty = setup.other.subdirectory("lists");
    for directory in [empty.display().to_string(), "/nowhere/lists".to_owned()] {
        setup.cluster.set_conf(&format!("ssl_crl_dir = '{directory}'"));
        reload(&setup);
        test_support::eventually(LIMIT, "the client is refused", || !logs_in());
        let report = check(&setup, &[]);
        one(&report, "failure", "client-certificates-refused");
    }
    // With a list of the authority.
    let list = setup.agent.authority().revocation_list(&[]).unwrap();
    let file = setup.other.write("crl.pem", list, 0o644);
    setup.cluster.set_conf(&format!("ssl_crl_file = '{}'\nssl_crl_dir = ''", file.display()));
    reload(&setup);
    test_support::eventually(LIMIT, "the client is let in", logs_in);
    assert!(found(&check(&setup, &[]), "failure", "client-certificates-refused").is_empty());
}

fn login(cluster: &Cluster, setup: &Setup) -> bool {
    let psql = cluster.client(setup.files.path(), "localhost", "").script("SELECT 1");
    let _ = Account::server();
    psql.run().status.success()
}

/// The file of a revocation list is one of PostgreSQL's files as well.
#[test]
fn f66_permission_denied_for_a_revocation_list_with_a_wrong_mode_is_no_matter_of_selinux() {
    let setup = started_with(HBA);
    let is_proof = logs_as_json(&setup);
    let list = setup.agent.authority().revocation_list(&[]).unwrap();
    let file = setup.other.write("closed.crl", list, 0o600);
    std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
    assert!(is_refused(&setup, &format!("ssl_crl_file = '{}'", file.display())));
    let report = check(&setup, &[]);
    let refused = one(&report, "failure", "ssl-reload-refused");
    assert_eq!(refused["text"].to_string().contains("Permission denied"), is_proof, "{refused:#}");
    assert!(!refused["fix"].to_string().contains("SELinux"), "{refused:#}");
    one(&report, "failure", "ssl-setting-refused");
}

/// Owner and mode are right by now, and the server's log says that it was not let: it may be let neither next time.
#[test]
fn f50_permission_denied_with_right_owner_and_mode_has_a_word_about_what_else_there_is() {
    let setup = started_with(HBA);
    // Otherwise the reason may be a client's.
    let is_proof = logs_as_json(&setup);
    let svid = setup.agent.svid();
    let copy = setup.other.write("copy.pem", svid.chain_pem(), 0o600);
    std::os::unix::fs::chown(&copy, Some(0), Some(0)).unwrap();
    assert!(is_refused(&setup, &format!("ssl_cert_file = '{}'", copy.display())));
    let fix = |report: &Value| {
        one(report, "failure", "ssl-reload-refused")["fix"].as_str().unwrap().to_owned()
    };
    // The mode is what is wrong.
    assert!(!fix(&check(&setup, &[])).contains("SELinux"));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&copy, open).unwrap();
    let report = check(&setup, &[]);
    let text = one(&report, "failure", "ssl-reload-refused")["text"].to_string();
    assert_eq!(text.contains("Permission denied"), is_proof, "{text}");
    let fix = fix(&report);
    assert!(["SELinux", "AppArmor", "getfacl"].iter().all(|word| fix.contains(word)), "{fix}");
    // The command reloads, and that is enough here.
    crate::judged::paste(one(&report, "failure", "ssl-reload-refused"));
    let taken = || found(&check(&setup, &[]), "failure", "ssl-reload-refused").is_empty();
    test_support::eventually(LIMIT, "the reload is taken", taken);
}
