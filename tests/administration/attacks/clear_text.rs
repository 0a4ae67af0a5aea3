//! A85, A95: PostgreSQL may ask a role of `[[roles]]` for a password without TLS, next to the line that asks for its
//! certificate.

use test_support::{Account, LIMIT, Psql, eventually};

use crate::attacks::endless::{started, texts};
use crate::attacks::planted_texts::report;

#[test]
fn a85_a_password_that_may_be_sent_without_tls_is_reported() {
    let setup = started();
    setup.configure("[[roles]]\nspiffe_id = 'spiffe://example.org/x'\nrole = 'app'\ncn = 'x'");
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN PASSWORD 'secret'");
    let name = Account::server().name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    setup.cluster.write_file("pg_ident.conf", &ident);
    let cert = "hostssl all app all cert map=pgsvid_roles clientname=DN\n";
    let said = |lines: &str| {
        let hba = format!(
            "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n{cert}{lines}\n"
        );
        setup.cluster.write_file("pg_hba.conf", &hba);
        setup.cluster.sighup();
        let report = report(Account::server(), &setup, &[]);
        ["failure", "warning"]
            .map(|severity| texts(&report, severity).contains("for a password without TLS"))
    };
    // The stock lines, and what keeps passwords off the network.
    for lines in [
        "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256",
        "hostssl all all all password",
        "hostnossl all all all reject\nhost all all all password",
        "host all other all password",
        "host all all all gss",
    ] {
        assert_eq!(said(lines), [false, false], "{lines}");
    }
    for (lines, found) in [
        ("host all all all scram-sha-256", [false, true]),
        ("hostnossl all app 10.0.0.0/8 md5", [false, true]),
        ("host all +staff 10.0.0.0/8 ldap ldapserver=x ldapprefix=y", [true, false]),
        ("host all other all reject\nhost all all all password", [true, false]),
        ("host all all 10.0.0.0/8 reject\nhostnossl all all all password", [true, false]),
    ] {
        assert_eq!(said(lines), found, "{lines}");
    }
    // What the last of them is.
    let place = format!(
        "host=127.0.0.1 port={} dbname=postgres user=app sslmode=disable password=secret",
        setup.cluster.port()
    );
    eventually(LIMIT, "the password is sent without TLS", || {
        Psql::new().arg(&place).script("SELECT 1").run().status.success()
    });
}

/// Beside a line that asks for a certificate where there is TLS, and without any [[roles]].
#[test]
fn a95_a_password_of_any_role_that_may_be_sent_without_tls_is_reported_and_the_remedy_ends_it() {
    let setup = started();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE people LOGIN PASSWORD 'secret'");
    let name = Account::server().name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    setup.cluster.write_file("pg_ident.conf", &ident);
    let write = |line: &str| {
        let hba = format!(
            "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n{line}\n\
             hostssl all all all cert\n"
        );
        setup.cluster.write_file("pg_hba.conf", &hba);
        setup.cluster.reload();
    };
    let login = || {
        let place = format!(
            "host=127.0.0.1 port={} dbname=postgres user=people sslmode=disable password=secret",
            setup.cluster.port()
        );
        Psql::new().arg(&place).script("SELECT 1").run().status.success()
    };
    for method in ["password", "scram-sha-256"] {
        for kind in ["hostnossl", "host"] {
            write(&format!("{kind} all all 0.0.0.0/0 {method}"));
            eventually(LIMIT, "the password is sent without TLS", login);
            let report = report(Account::server(), &setup, &[]);
            let warnings = texts(&report, "warning");
            let told =
                format!("lets clients in by {method} alone, without a certificate and without TLS");
            assert!(warnings.contains(&told), "{kind} {method}: {report:#}");
            let fix = report.to_string();
            let fix = fix
                .split(&format!("write hostssl instead of {kind}, and cert instead of {method}"))
                .count();
            assert_eq!(fix, 2, "{kind} {method}: {report:#}");
            assert!(!texts(&report, "ok").contains("TLS clients need a certificate"), "{report:#}");
        }
    }
    write("hostssl all all 0.0.0.0/0 cert");
    eventually(LIMIT, "no password is taken any more", || !login());
    let report = report(Account::server(), &setup, &[]);
    assert!(texts(&report, "ok").contains("TLS clients need a certificate"), "{report:#}");
}
