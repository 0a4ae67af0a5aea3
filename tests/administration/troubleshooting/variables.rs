//! F62 and F63: what a service leaves out, and what libpq takes for an address.

use super::clients::Service;

/// libpq takes from variables what the service leaves out.
#[test]
fn f62_variables_give_what_the_service_leaves_out() {
    let service = Service::new();
    let path = |name: &str| service.setup.files.join(name).display().to_string();
    let (leaf, key, bundle) = (path("svid.pem"), path("svid_key.pem"), path("svid_bundle.pem"));
    let files = [("PGSSLCERT", leaf.as_str()), ("PGSSLKEY", &key), ("PGSSLROOTCERT", &bundle)];
    let without_files = "sslcert=\nsslkey=\nsslrootcert=";
    for (lines, more) in [
        ("sslmode=".to_owned(), vec![("PGSSLMODE", "verify-full")]),
        (without_files.to_owned(), files.to_vec()),
        (
            format!("sslmode=\n{without_files}"),
            [&files[..], &[("PGSSLMODE", "verify-full")]].concat(),
        ),
        // The service wins.
        (String::new(), vec![("PGSSLMODE", "disable"), ("PGSSLCERT", "/nowhere/svid.pem")]),
    ] {
        let (psql, checked) = service.through(&lines, &more);
        assert_eq!(
            (psql.stdout.as_str(), checked.status),
            ("t", 0),
            "{psql:?} {:#}",
            checked.report
        );
        checked.finding("ok", "service-file");
    }
    // What a variable says wrong counts just as much.
    let (_, checked) = service.through("sslmode=", &[("PGSSLMODE", "prefer")]);
    let finding = checked.finding("failure", "sslmode-not-strict");
    assert!(finding["fix"].as_str().unwrap().ends_with("PGSSLMODE"), "{finding:#}");
    let (psql, checked) = service.through("sslrootcert=", &[("PGSSLROOTCERT", "/nowhere/ca.pem")]);
    assert!(psql.stderr.contains("\"/nowhere/ca.pem\" does not exist"), "{psql:?}");
    checked.fails("service-path-missing");
    let (psql, checked) = service.through("sslmode=\nsslcert=", &[]);
    assert!(!psql.status.success(), "{psql:?}");
    checked.fails("sslmode-not-strict");
    checked.fails("service-keyword-missing");
}

/// No DNS name is such a number, and an SVID has no addresses.
#[test]
fn f63_short_and_hexadecimal_addresses_are_addresses() {
    let service = Service::new();
    for host in ["127.1", "0x7f.1", "2130706433"] {
        let (psql, checked) = service.through(&format!("hostaddr=\nhost={host}"), &[]);
        assert!(psql.stderr.contains("does not match host name"), "{psql:?}");
        checked.finding("warning", "service-host-name");
    }
}
