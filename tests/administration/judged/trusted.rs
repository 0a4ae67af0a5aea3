//! F56: certificates with OpenSSL's trust settings, judged as PostgreSQL takes them.

use std::path::Path;
use std::process::Command;

use test_support::{Account, LIMIT, Program, Setup};

use crate::judged::{PGSVID, check, found, one, reload, started_with};

/// The file's first certificate as a trusted one.
fn trusted(setup: &Setup, file: &str) -> String {
    let path = setup.files.join(file);
    let output =
        Command::new("openssl").args(["x509", "-trustout", "-in"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("BEGIN TRUSTED CERTIFICATE"), "{text}");
    text
}

fn is_well(files: &[&Path]) -> bool {
    let files = files.iter().map(|path| path.display().to_string());
    let arguments = std::iter::once("inspect".to_owned()).chain(files);
    let inspected = Program::spawn_as(Account::current(), PGSVID, arguments, &[]);
    inspected.wait_exit(LIMIT).success()
}

#[test]
fn f56_a_trusted_certificate_counts_as_a_leaf_and_not_as_the_only_authority() {
    let setup = started_with("hostssl all all 127.0.0.1/32 cert");
    let bundle = setup.files.join("svid_bundle.pem");
    let published = |name: &str| setup.files.join(name).display().to_string();
    let leaf = setup.other.write("leaf.pem", trusted(&setup, "svid.pem"), 0o644);
    setup.cluster.set_conf(&format!("ssl_cert_file = '{}'", leaf.display()));
    setup.cluster.restart();
    let report = check(&setup, &[]);
    one(&report, "ok", "verdict-current");
    for code in ["tls-file-damaged", "certificate-missing", "key-pair"] {
        assert!(found(&report, "failure", code).is_empty(), "{code}: {report:#}");
    }
    assert!(is_well(&[&leaf, &bundle]));
    setup.cluster.set_conf(&format!("ssl_cert_file = '{}'", published("svid.pem")));

    // Alone it is no authority: PostgreSQL refuses the file.
    let authority = setup.other.write("ca.pem", trusted(&setup, "svid_bundle.pem"), 0o644);
    setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", authority.display()));
    let log = setup.cluster.log_mark();
    reload(&setup);
    setup.cluster.wait_for_log(log, LIMIT, "could not load root certificate file");
    one(&check(&setup, &[]), "failure", "certificate-missing");
    assert!(!is_well(&[&setup.files.join("svid.pem"), &authority]));
}
