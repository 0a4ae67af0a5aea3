//! F29: `pg_hba.conf` as PostgreSQL, Debian and three operators write it.

use std::collections::BTreeSet;

use test_support::{Account, Setup};

use crate::judged::{PGSVID, admin, check, findings, reload, start};

const ROLES: &str = "CREATE ROLE streaming_replica LOGIN REPLICATION; CREATE ROLE cnpg_pooler_pgbouncer LOGIN; CREATE ROLE zalandos; \
                     CREATE ROLE standby LOGIN REPLICATION; CREATE ROLE _crunchyrepl LOGIN REPLICATION; CREATE ROLE monitor LOGIN; \
                     CREATE ROLE _crunchypgbouncer LOGIN";

/// As `initdb` writes it with the methods that it advises, `CloudNativePG`, Spilo (Zalando) and the operators of Crunchy Data and Percona.
/// Whose, the lines, the failures, the warnings.
const STOCK: [(&str, &str, &[&str], &[&str]); 5] = [
    (
        "initdb",
        "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n\
         local replication all peer\nhost replication all 127.0.0.1/32 scram-sha-256\nhost replication all ::1/128 scram-sha-256",
        &[],
        &["hba-certificate-line-missing"],
    ),
    (
        "initdb -A trust",
        "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n\
         local replication all trust\nhost replication all 127.0.0.1/32 trust\nhost replication all ::1/128 trust",
        &["hba-any-role", "superuser-over-socket"],
        &["hba-certificate-line-missing"],
    ),
    (
        "CloudNativePG",
        "local all all peer map=local\nhostssl postgres streaming_replica all cert map=cnpg_streaming_replica\n\
         hostssl replication streaming_replica all cert map=cnpg_streaming_replica\n\
         hostssl all cnpg_pooler_pgbouncer all cert map=cnpg_pooler_pgbouncer\nhost all all all scram-sha-256",
        &[],
        &["hba-without-certificate"],
    ),
    (
        "Spilo",
        "local all all trust\nhostssl all +zalandos 127.0.0.1/32 pam\nhost all all 127.0.0.1/32 md5\n\
         hostssl all +zalandos ::1/128 pam\nhost all all ::1/128 md5\nhostssl replication standby all md5\nhostnossl all all all reject\nhostssl all +zalandos all pam\nhostssl all all all md5",
        &[],
        &["hba-certificate-line-missing", "hba-without-certificate"],
    ),
    (
        "Crunchy Data, Percona",
        "local all \"postgres\" peer\nhostssl replication \"_crunchyrepl\" all cert\nhostssl \"postgres\" \"_crunchyrepl\" all cert\n\
         host all \"_crunchyrepl\" all reject\nhost all \"monitor\" \"127.0.0.0/8\" scram-sha-256\n\
         host all \"monitor\" \"::1/128\" scram-sha-256\nhost all \"monitor\" all reject\n\
         hostssl all \"_crunchypgbouncer\" all scram-sha-256\nhost all \"_crunchypgbouncer\" all reject\nhostssl all all all md5",
        &[],
        &["hba-without-certificate"],
    ),
];

/// The tests' own first line lets the superuser in by `peer`, and hides the lines for all roles and databases from it. A failure is only what makes each user of the machine a superuser, and what is told of them is what a reader of each file
/// would expect, no more.
#[test]
fn f29_stock_files_of_postgresql_and_three_operators_bring_no_more_failures_and_warnings_than_these()
 {
    let setup = Setup::builder(PGSVID).create();
    start(&setup);
    admin(&setup, ROLES);
    let account = Account::server().name();
    let lacks_pam = !setup.cluster.lacks(&["pam"]).is_empty();
    for (whose, lines, failures, expected) in STOCK {
        if lines.contains(" pam") && lacks_pam {
            continue;
        }
        setup.cluster.set_ident(&format!(
            "pgsvid {account} pgsvid\nlocal {account} postgres\ncnpg_streaming_replica streaming_replica streaming_replica\n\
             cnpg_pooler_pgbouncer cnpg_pooler_pgbouncer cnpg_pooler_pgbouncer"
        ));
        setup.cluster.set_hba(&format!("local postgres pgsvid peer map=pgsvid\n{lines}"));
        reload(&setup);
        for more in [&[][..], &["--user", "postgres"]] {
            let report = check(&setup, more);
            let of_severity = |severity: &str| -> BTreeSet<String> {
                let found = findings(&report).into_iter();
                let found = found.filter(|found| found["severity"] == severity);
                found.map(|found| found["code"].as_str().unwrap().to_owned()).collect()
            };
            // A superuser's session does not show that the lines let everybody be pgsvid's role, too.
            let mut failed = of_severity("failure");
            failed.remove("others-over-socket");
            let named = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
            assert_eq!(failed, named(failures), "{whose} {more:?}: {report:#}");
            // pgsvid runs as PostgreSQL's user here, which may be the superuser over the socket.
            let mut warnings = of_severity("warning");
            warnings.remove("superuser-over-socket");
            assert_eq!(warnings, named(expected), "{whose} {more:?}: {report:#}");
        }
    }
}
