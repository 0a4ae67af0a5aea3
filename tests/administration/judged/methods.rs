//! F30: methods that do not compare the certificate's name.

use test_support::Setup;

use crate::judged::{admin, check, found, hba, one, started_with};

/// Whether psql is that role with the published certificate, whose CN is `localhost`.
fn is(setup: &Setup, role: &str) -> bool {
    setup.cluster.client(setup.files.path(), role, "").script("SELECT 1").run().status.success()
}

/// The line, which roles psql is by it, and whether it is a failure.
const LINES: [(&str, &[&str], bool); 19] = [
    ("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca", &["postgres", "app"], true),
    ("hostssl all all localhost trust clientcert=verify-ca", &["postgres", "app"], true),
    ("hostssl all all samehost trust clientcert=verify-ca", &["postgres", "app"], true),
    ("hostssl all all samenet trust clientcert=verify-ca", &["postgres", "app"], true),
    ("hostssl all all all trust clientcert=verify-ca", &["postgres", "app"], true),
    ("hostssl postgres postgres 127.0.0.1/32 trust clientcert=verify-ca", &["postgres"], true),
    ("hostssl all +admins 127.0.0.1/32 trust clientcert=verify-ca", &["postgres"], true),
    ("hostssl all app 127.0.0.1/32 trust clientcert=verify-ca", &["app"], true),
    // What the client's own machine says.
    ("hostssl all all 127.0.0.1/32 ident clientcert=verify-ca", &[], true),
    ("hostssl all all all ident clientcert=verify-ca", &[], true),
    // The name is compared.
    ("hostssl all all 127.0.0.1/32 trust clientcert=verify-full", &[], false),
    ("hostssl all all 127.0.0.1/32 ident clientcert=verify-full", &[], false),
    ("hostssl all all 127.0.0.1/32 cert", &[], false),
    // Something else is asked for.
    ("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca", &[], false),
    ("hostssl all all 127.0.0.1/32 md5 clientcert=verify-ca", &[], false),
    ("hostssl all all 127.0.0.1/32 pam clientcert=verify-ca", &[], false),
    (
        "hostssl all all 127.0.0.1/32 ldap ldapserver=a ldapprefix=a ldapsuffix=b clientcert=verify-ca",
        &[],
        false,
    ),
    (
        "hostssl all all 127.0.0.1/32 radius radiusservers=localhost radiussecrets=a clientcert=verify-ca",
        &[],
        false,
    ),
    ("hostssl all all 127.0.0.1/32 gss clientcert=verify-ca", &[], false),
];

/// Each with what PostgreSQL does.
#[test]
fn f30_a_line_by_which_any_certificate_is_any_role_is_a_failure() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(
        &setup,
        "CREATE ROLE app LOGIN; CREATE ROLE localhost LOGIN; CREATE ROLE admins; GRANT admins TO postgres",
    );
    let lacks = setup.cluster.lacks(&["pam", "ldap", "gss"]);
    for (line, roles, fails) in LINES {
        if line.split(' ').any(|word| lacks.contains(&word)) {
            continue;
        }
        hba(&setup, line);
        for role in ["postgres", "app"] {
            assert_eq!(is(&setup, role), roles.contains(&role), "{line}: {role}");
        }
        for more in [&[][..], &["--user", "postgres"]] {
            let report = check(&setup, more);
            let failures = found(&report, "failure", "hba-any-role");
            assert_eq!(!failures.is_empty(), fails, "{line} {more:?}: {report:#}");
            assert!(found(&report, "failure", "hba-line-wrong").is_empty(), "{line}: {report:#}");
        }
    }
    // As it is told.
    hba(&setup, LINES[0].0);
    let report = check(&setup, &[]);
    let fix = one(&report, "failure", "hba-any-role")["fix"].to_string();
    assert!(fix.contains("clientcert=verify-full"), "{fix}");
    hba(&setup, &LINES[0].0.replace("verify-ca", "verify-full"));
    assert!(!is(&setup, "postgres") && is(&setup, "localhost"));
}
