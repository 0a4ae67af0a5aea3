//! F31 and F65: revocation lists of every kind that PostgreSQL cannot load, or that make it refuse every client.

use std::os::unix::fs::chown;

use dev_agent::DevAgent;
use test_support::{LIMIT, Mode, Setup, eventually, openssl};

use crate::judged::{admin, check, found, reload, started_with};

const HBA: &str = "hostssl all localhost 127.0.0.1/32 cert";

fn logs_in(setup: &Setup) -> bool {
    setup
        .cluster
        .client(setup.files.path(), "localhost", "")
        .script("SELECT 1")
        .run()
        .status
        .success()
}

/// What PostgreSQL does with a value: it loads it, refuses it at a reload and at a start, or loads it and refuses every client.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Good,
    RefusesIt,
    RefusesClients,
}

use Does::{Good, RefusesClients, RefusesIt};

/// Settings with what PostgreSQL does.
fn values(setup: &Setup, other: &DevAgent) -> Vec<(&'static str, &'static str, String, Does)> {
    let authority = setup.agent.authority();
    let good = authority.revocation_list(&[]).unwrap();
    let revoked = authority.revocation_list(&[&setup.agent.svid()]).unwrap();
    let outdated = authority.outdated_revocation_list().unwrap();
    let foreign = other.authority().revocation_list(&[]).unwrap();
    let der = openssl(&["crl", "-outform", "DER"], &good);
    let closed = setup.other.write("closed.crl", &good, 0o600);
    chown(&closed, Some(0), Some(0)).unwrap();
    let file =
        |name: &str, content: &[u8]| setup.other.write(name, content, 0o644).display().to_string();
    let directory = |name: &str, list: Option<(&str, &str)>| {
        let path = setup.other.subdirectory(name);
        if let Some((name_of_list, list)) = list {
            setup.other.write(&format!("{name}/{name_of_list}"), list, 0o644);
        }
        path.display().to_string()
    };
    let hashed = |name: &str, list: &str| {
        let hash = String::from_utf8(openssl(&["crl", "-noout", "-hash"], list)).unwrap();
        directory(name, Some((&format!("{}.r0", hash.trim()), list)))
    };
    let (lists, lists_directory) = ("ssl_crl_file", "ssl_crl_dir");
    let cut = &good.as_bytes()[..good.len() / 2];
    let good_and_cut = [good.as_bytes(), cut].concat();
    // F65: a block that ends correctly, with something else in it.
    let no_list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let good_and_none = format!("{good}{no_list}");
    vec![
        ("no list in its block", lists, file("none.crl", no_list.as_bytes()), RefusesIt),
        ("no list behind a good one", lists, file("then.crl", good_and_none.as_bytes()), RefusesIt),
        ("on one line", lists, file("line.crl", good.replace('\n', " ").as_bytes()), RefusesIt),
        ("good twice", lists, file("twice.crl", good.repeat(2).as_bytes()), Good),
        ("good", lists, file("good.crl", good.as_bytes()), Good),
        ("missing", lists, "/nowhere/a.crl".to_owned(), RefusesIt),
        ("unreadable", lists, closed.display().to_string(), RefusesIt),
        ("DER", lists, file("der.crl", &der), RefusesIt),
        ("empty", lists, file("empty.crl", b""), RefusesIt),
        ("cut short", lists, file("cut.crl", cut), RefusesIt),
        ("cut short behind a good one", lists, file("second.crl", &good_and_cut), RefusesIt),
        ("no file", lists, directory("d", None), RefusesIt),
        ("of another authority", lists, file("foreign.crl", foreign.as_bytes()), RefusesClients),
        ("outdated", lists, file("outdated.crl", outdated.as_bytes()), RefusesClients),
        ("with the certificate", lists, file("revoked.crl", revoked.as_bytes()), RefusesClients),
        ("good", lists_directory, hashed("good", &good), Good),
        ("missing", lists_directory, "/nowhere/lists".to_owned(), RefusesClients),
        ("empty", lists_directory, directory("none", None), RefusesClients),
        ("of another authority", lists_directory, hashed("foreign", &foreign), RefusesClients),
        ("outdated", lists_directory, hashed("outdated", &outdated), RefusesClients),
        ("with the certificate", lists_directory, hashed("revoked", &revoked), RefusesClients),
        (
            "under another name",
            lists_directory,
            directory("misnamed", Some(("a.pem", &good))),
            RefusesClients,
        ),
        ("a file", lists_directory, file("x.crl", good.as_bytes()), RefusesClients),
    ]
}

#[test]
fn f31_f65_lists_that_postgresql_cannot_load_or_refuses_clients_by_are_reported_and_nothing_else_is_blamed()
 {
    const NONE: &str = "ssl_crl_file = ''\nssl_crl_dir = ''";
    let setup = started_with(HBA);
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let other = DevAgent::builder(setup.other.join("other.sock")).start().unwrap();
    for (what, setting, value, does) in values(&setup, &other) {
        let what = format!("{setting} {what}");
        setup.cluster.set_conf(NONE);
        reload(&setup);
        setup.cluster.set_conf(&format!("{setting} = '{value}'"));
        reload(&setup);
        eventually(LIMIT, &what, || logs_in(&setup) != (does == RefusesClients));
        for more in [&["--as-client", "localhost"][..], &["--user", "postgres"]] {
            let report = check(&setup, more);
            let failures = |code| found(&report, "failure", code).len();
            assert_eq!(
                failures("ssl-setting-refused") > 0,
                does == RefusesIt,
                "{what} {more:?}: {report:#}"
            );
            assert_eq!(
                failures("client-certificates-refused") > 0,
                does == RefusesClients,
                "{what} {more:?}: {report:#}"
            );
            assert_eq!(failures("login-certificate-refused"), 0, "{what}: {report:#}");
            assert_eq!(report["summary"]["failure"] == 0, does == Good, "{what}: {report:#}");
        }
        setup.cluster.stop(Mode::Fast);
        assert_eq!(setup.cluster.try_start().is_err(), does == RefusesIt, "{what}");
        if does == RefusesIt {
            setup.cluster.set_conf(NONE);
            setup.cluster.start();
        }
    }
}
