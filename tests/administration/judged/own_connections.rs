//! F48: connections that a server itself opens with a certificate are checked like those of clients. psql stands for the
//! server.

use serde_json::Value;
use test_support::{Psql, PsqlOutput, Setup};

use crate::judged::{admin, check, findings, reload, started_with};

/// Connects with that string, as walreceiver would.
fn connects(setup: &Setup, conninfo: &str) -> PsqlOutput {
    let text = format!("{conninfo} dbname=postgres");
    // Relative files are those of the data directory.
    let data = setup.cluster.data_directory().display().to_string();
    let text = text.replace("='svid.pem'", &format!("='{data}/svid.pem'"));
    Psql::new().arg("-w").arg(text).script("SELECT 1").run()
}

fn told<'a>(report: &'a Value, severity: &str) -> Vec<&'a str> {
    told_of("primary_conninfo", report, severity)
}

fn told_of<'a>(setting: &str, report: &'a Value, severity: &str) -> Vec<&'a str> {
    let about = |found: &&Value| found["object"] == setting && found["severity"] == severity;
    findings(report)
        .into_iter()
        .filter(about)
        .map(|found| found["code"].as_str().unwrap())
        .collect()
}

#[test]
fn f48_a_standbys_connection_to_its_primary_is_looked_at_as_a_clients() {
    let setup = started_with("hostssl all localhost 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let files = setup.files.path().display().to_string();
    let place = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=localhost password='ge\\heim'",
        setup.cluster.port()
    );
    let trio = format!(
        "sslcert='{files}/svid.pem' sslkey = {files}/svid_key.pem sslrootcert={files}/svid_bundle.pem"
    );
    for (conninfo, works, severity, code) in [
        (format!("{place} {trio} sslmode=verify-full"), true, "ok", "service-file"),
        (format!("{place} {trio} sslmode=require"), true, "warning", "sslmode-server-unproven"),
        (format!("{place} {trio}"), true, "failure", "sslmode-not-strict"),
        (
            format!("{place} {trio} sslmode=verify-full connect_timeout=abc"),
            false,
            "failure",
            "service-value",
        ),
        (
            format!(
                "{place} sslcert=/nowhere/svid.pem {trio} sslmode=verify-full sslkey=/nowhere/key.pem"
            ),
            false,
            "failure",
            "service-path-missing",
        ),
        (
            format!(
                "{place} sslcert='svid.pem' sslmode=verify-full sslrootcert={files}/svid_bundle.pem"
            ),
            false,
            "failure",
            "service-path-missing",
        ),
        (
            format!("host=localhost. {trio} sslmode=verify-full"),
            false,
            "failure",
            "service-host-name",
        ),
    ] {
        let output = connects(&setup, &conninfo);
        assert_eq!(output.status.success(), works, "{conninfo}: {output:?}");
        setup.cluster.set_conf(&format!(
            "primary_conninfo = '{}'",
            conninfo.replace('\\', r"\\").replace('\'', "''")
        ));
        reload(&setup);
        let report = check(&setup, &["--user", "postgres"]);
        assert!(told(&report, severity).contains(&code), "{conninfo}: {report:#}");
        if code == "service-file" {
            assert!(told(&report, "failure").is_empty(), "{report:#}");
        }
        assert!(!report.to_string().contains("heim"), "a password is repeated");
        // The role may not see the setting.
        assert!(told(&check(&setup, &[]), severity).is_empty());
    }
    // Without a certificate it is nobody's concern here, and another form is not looked at.
    setup.cluster.set_conf("primary_conninfo = 'host=localhost sslmode=prefer'");
    reload(&setup);
    let report = check(&setup, &["--user", "postgres"]);
    assert!(
        ["ok", "warning", "failure"].iter().all(|it| told(&report, it).is_empty()),
        "{report:#}"
    );
    setup.cluster.set_conf("primary_conninfo = 'postgresql://localhost/?sslmode=require'");
    reload(&setup);
    let report = check(&setup, &["--user", "postgres"]);
    assert_eq!(told(&report, "skipped"), ["service-syntax"]);
}

/// What libpq refuses as a whole, and what it looks for elsewhere, is not complete.
#[test]
fn f67_a_connection_string_that_libpq_refuses_or_completes_from_elsewhere_is_no_all_clear() {
    let setup = started_with("hostssl all localhost 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let files = setup.files.path().display().to_string();
    let place =
        format!("host=localhost hostaddr=127.0.0.1 port={} user=localhost", setup.cluster.port());
    let pair = format!("sslcert={files}/svid.pem sslkey={files}/svid_key.pem");
    let root = format!("sslrootcert={files}/svid_bundle.pem");
    let list = dev_agent::Authority::new("other.org", false).unwrap().revocation_list(&[]).unwrap();
    let list = setup.other.write("other.crl", list, 0o644).display().to_string();
    let strict = "sslmode=verify-full";
    for (conninfo, severity, code) in [
        (format!("{place} {strict} SSLCERT={files}/svid.pem {root}"), "failure", "service-syntax"),
        (format!("{place} {strict} {pair} {root} ssl=true"), "failure", "service-syntax"),
        (format!("{place} {strict} {pair} {root} trailing"), "failure", "service-syntax"),
        (format!("{place} {strict} {pair} {root} options='-c"), "failure", "service-syntax"),
        (format!("{place} {strict} {pair}"), "warning", "service-keyword-missing"),
        (
            format!("{place} {strict} sslcert={files}/svid.pem {root}"),
            "warning",
            "service-keyword-missing",
        ),
        (
            format!("{place} {strict} {pair} {root} sslcrl={list}"),
            "failure",
            "client-revocation-list",
        ),
        (format!("{strict} {pair} {root} service=nowhere"), "skipped", "service-file"),
    ] {
        assert!(!connects(&setup, &conninfo).status.success(), "{conninfo}");
        setup.cluster.set_conf(&format!("primary_conninfo = '{}'", conninfo.replace('\'', "''")));
        reload(&setup);
        let report = check(&setup, &["--user", "postgres"]);
        assert!(told(&report, severity).contains(&code), "{conninfo}: {report:#}");
        assert!(told(&report, "ok").is_empty(), "{conninfo}: {report:#}");
    }
}

/// The setting stands there without the extension, too, which reads it as libpq's options without a place.
#[test]
fn f48_a_citus_nodes_connection_to_the_others_is_looked_at_as_a_clients() {
    let setup = started_with("hostssl all localhost 127.0.0.1/32 cert");
    let files = setup.files.path().display().to_string();
    let trio = format!(
        "sslcert={files}/svid.pem sslkey={files}/svid_key.pem sslrootcert={files}/svid_bundle.pem"
    );
    for (conninfo, severity, code) in [
        (format!("{trio} sslmode=verify-full"), "ok", "service-file"),
        (format!("{trio} sslmode=require"), "warning", "sslmode-server-unproven"),
        (trio.clone(), "failure", "sslmode-not-strict"),
        (format!("{trio} sslmode=verify-full connect_timeout=abc"), "failure", "service-value"),
    ] {
        setup.cluster.set_conf(&format!("citus.node_conninfo = '{conninfo}'"));
        reload(&setup);
        let report = check(&setup, &["--user", "postgres"]);
        let told = told_of("citus.node_conninfo", &report, severity);
        assert!(told.contains(&code), "{conninfo}: {report:#}");
        // The role may not see the setting, and is none the worse for it.
        let plain = check(&setup, &[]);
        assert!(told_of("citus.node_conninfo", &plain, severity).is_empty());
        assert!(!findings(&plain).is_empty(), "{plain:#}");
    }
    // Without certificates it is nobody's concern here.
    setup.cluster.set_conf("citus.node_conninfo = 'sslmode=require'");
    reload(&setup);
    let report = check(&setup, &["--user", "postgres"]);
    assert!(!report.to_string().contains("citus"), "{report:#}");
}
