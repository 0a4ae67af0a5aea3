//! A52: lines of `pg_hba.conf` that let the wrong clients in, where `check` did not see it.

use test_support::{Account, Setup};

use crate::attacks::endless::{started, texts};
use crate::attacks::planted_texts::report;

/// Lets pgsvid in, and asks for a certificate.
pub(super) const GOOD: &str = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n\
                    hostssl all all all cert\n";
/// What is said of files that let in nobody without a certificate.
pub(super) const ALL_CLEAR: &str = "TLS clients need a certificate";

pub(super) fn write(setup: &Setup, hba: &str) {
    setup.cluster.write_file("pg_hba.conf", hba);
    setup.cluster.reload();
}

/// The same with a line above the one that asks for a certificate.
pub(super) fn above(line: &str) -> String {
    GOOD.replace("hostssl", &format!("{line}\nhostssl"))
}

/// Fails where the report does not have a failure with these words, or gives an all-clear.
#[track_caller]
pub(super) fn fails(setup: &Setup, more: &[&str], words: &str) {
    let report = report(Account::server(), setup, more);
    let failures = texts(&report, "failure");
    assert!(failures.contains(words), "{words}: {report:#}");
    let ok = texts(&report, "ok");
    assert!(!ok.contains(ALL_CLEAR), "{ok}");
}

#[track_caller]
pub(super) fn is_well(setup: &Setup, more: &[&str]) {
    let report = report(Account::server(), setup, more);
    assert!(texts(&report, "ok").contains(ALL_CLEAR), "{report:#}");
}

#[test]
fn a52_a_nul_byte_in_either_file_is_reported_and_nothing_is_believed_of_it() {
    let setup = started();
    let ident = format!(
        "pgsvid {name} pgsvid\nadministration {name} postgres\n",
        name = Account::server().name()
    );
    setup.cluster.write_file("pg_ident.conf", &ident);
    write(&setup, GOOD);
    let administrator = ["--user", "postgres"];
    for more in [&[][..], &administrator] {
        is_well(&setup, more);
    }
    // PostgreSQL takes the second line for a part of the comment.
    write(&setup, &format!("# \0\nhostssl all all all reject\n{GOOD}"));
    for more in [&[][..], &administrator] {
        fails(&setup, more, "pg_hba.conf line 1 has a NUL byte");
    }
    write(&setup, GOOD);
    setup.cluster.write_file("pg_ident.conf", &format!("{ident}x \0y z\n"));
    setup.cluster.sighup();
    for more in [&[][..], &administrator] {
        fails(&setup, more, "pg_ident.conf line 3 has a NUL byte");
    }
}

#[test]
fn a52_lines_that_trust_clients_are_failures_with_any_clientcert() {
    let setup = started();
    for (line, words) in [
        (
            "hostssl all all 10.0.0.0/8 trust clientcert=verify-ca",
            "line 3 has the method trust: every workload",
        ),
        (
            "hostssl all all 10.0.0.0/8 ident clientcert=verify-ca",
            "line 3 has the method ident: every workload",
        ),
        ("hostnossl all all 10.0.0.0/8 trust", "can log in as any role, without TLS"),
    ] {
        write(&setup, &above(line));
        fails(&setup, &[], words);
    }
    write(&setup, &above("hostssl all all 10.0.0.0/8 trust clientcert=verify-full"));
    is_well(&setup, &[]);
}

#[test]
fn a52_the_file_that_alter_system_names_is_the_one_that_is_judged() {
    let setup = started();
    write(&setup, GOOD);
    let other = setup.cluster.data_directory().join("other.conf");
    setup.cluster.write_file("other.conf", &format!("{GOOD}host all all 10.0.0.0/8 trust\n"));
    let statement = format!("ALTER SYSTEM SET hba_file = '{}'", other.display());
    setup.cluster.sql("postgres", "postgres", &statement);
    setup.cluster.restart();
    fails(&setup, &[], "other.conf line 4 has the method trust");
    // Where it cannot be told, nothing is said.
    setup.cluster.set_conf("include_dir 'nowhere'");
    let report = report(Account::server(), &setup, &[]);
    assert!(
        texts(&report, "skipped").contains("not all of the configuration that names them"),
        "{report:#}"
    );
    assert!(!texts(&report, "ok").contains(ALL_CLEAR), "{report:#}");
}
