//! A81: PostgreSQL's files differ from what is in force, and `check` judged the files.

use std::path::Path;

use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::endless::{started, texts};
use crate::attacks::planted_texts::report;

const GOOD: &str = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n\
                    hostssl all all all cert\n";
/// Lets in everybody.
const OPEN: &str = "host all all 10.0.0.0/8 trust\n";
const ALL_CLEAR: &str = "TLS clients need a certificate";
const ADMINISTRATOR: [&str; 2] = ["--user", "postgres"];

/// A server whose files are good and loaded, and whose server account may be pgsvid and a superuser.
fn good() -> Setup {
    let setup = started();
    let name = Account::server().name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    setup.cluster.write_file("pg_ident.conf", &ident);
    setup.cluster.write_file("pg_hba.conf", GOOD);
    setup.cluster.restart();
    setup
}

/// Waits until PostgreSQL has read everything: it makes no new backend while it does.
fn reload(setup: &Setup) {
    let loaded = || setup.cluster.sql("postgres", "postgres", "SELECT pg_conf_load_time()");
    let before = loaded();
    setup.cluster.sighup();
    eventually(LIMIT, "it has read its files", || loaded() != before);
}

fn alter(setup: &Setup, setting: &str, path: &Path) {
    let statement = format!("ALTER SYSTEM SET {setting} = '{}'", path.display());
    setup.cluster.sql("postgres", "postgres", &statement);
}

/// Fails where the report has no finding of that severity with these words, or gives an all-clear.
#[track_caller]
fn tells(setup: &Setup, more: &[&str], severity: &str, words: &str) {
    let report = report(Account::server(), setup, more);
    assert!(texts(&report, severity).contains(words), "{words}: {report:#}");
    let ok = texts(&report, "ok");
    assert!(!ok.contains(ALL_CLEAR) && !ok.contains("is no superuser"), "{ok}");
}

#[track_caller]
fn is_well(setup: &Setup, more: &[&str]) {
    let report = report(Account::server(), setup, more);
    assert!(texts(&report, "ok").contains(ALL_CLEAR), "{report:#}");
    let told = format!("{}{}", texts(&report, "failure"), texts(&report, "skipped"));
    assert!(!told.contains("changed after") && !told.contains("in force"), "{told}");
}

#[test]
fn a81_rules_that_are_fixed_and_not_loaded_are_no_all_clear() {
    let setup = good();
    let roles = [&[][..], &ADMINISTRATOR];
    for more in roles {
        is_well(&setup, more);
    }
    setup.cluster.write_file("pg_hba.conf", &format!("{OPEN}{GOOD}"));
    reload(&setup);
    setup.cluster.write_file("pg_hba.conf", GOOD);
    for more in roles {
        tells(&setup, more, "failure", "pg_hba.conf changed after PostgreSQL last loaded it");
    }
    reload(&setup);
    for more in roles {
        is_well(&setup, more);
    }
    // An older file that takes the place of the one that was loaded.
    setup.cluster.write_file(
        "pg_ident.conf.new",
        &format!("administration {} postgres\n", Account::server().name()),
    );
    reload(&setup);
    let data = setup.cluster.data_directory();
    std::fs::rename(data.join("pg_ident.conf.new"), data.join("pg_ident.conf")).unwrap();
    for more in roles {
        tells(&setup, more, "failure", "pg_ident.conf changed after PostgreSQL last loaded it");
    }
}

#[test]
fn a81_a_list_in_a_file_that_is_changed_and_not_loaded_is_reported() {
    let setup = good();
    setup.cluster.write_file("who", "app\n");
    setup.cluster.write_file("pg_hba.conf", &format!("{GOOD}hostssl all @who all reject\n"));
    reload(&setup);
    for more in [&[][..], &ADMINISTRATOR] {
        is_well(&setup, more);
    }
    setup.cluster.write_file("who", "app, other\n");
    tells(&setup, &[], "failure", "who changed after PostgreSQL last loaded it");
}

#[test]
fn a81_a_file_that_is_named_from_the_next_start_on_is_not_taken_for_the_one_in_force() {
    let setup = good();
    setup.cluster.write_file("pg_hba.conf", &format!("{OPEN}{GOOD}"));
    reload(&setup);
    // The rules in force let in everybody; those of the other file do not.
    setup.cluster.write_file("other.conf", GOOD);
    alter(&setup, "hba_file", &setup.cluster.data_directory().join("other.conf"));
    for loaded in [false, true] {
        if loaded {
            reload(&setup);
        }
        // A plain role may not see which one it is.
        tells(&setup, &[], "skipped", "whether PostgreSQL uses this file");
        tells(
            &setup,
            &ADMINISTRATOR,
            "warning",
            "other.conf from then on: only the first is judged here",
        );
        tells(&setup, &ADMINISTRATOR, "failure", "pg_hba.conf line 1 has the method trust");
    }
    setup.cluster.restart();
    for more in [&[][..], &ADMINISTRATOR] {
        is_well(&setup, more);
    }
}

#[test]
fn a81_settings_that_are_changed_or_wrong_and_not_loaded_are_reported() {
    let setup = good();
    let said = |more: &[&str], severity| texts(&report(Account::server(), &setup, more), severity);
    assert!(!said(&[], "warning").contains("changed after"), "{}", said(&[], "warning"));
    setup.cluster.set_conf("ssl_ca_file = ''");
    for more in [&[][..], &ADMINISTRATOR] {
        let warnings = said(more, "warning");
        assert!(
            warnings.contains("postgresql.conf changed after PostgreSQL last loaded it"),
            "{warnings}"
        );
    }
    setup.cluster.set_conf("no_such_setting = 1");
    let mark = setup.cluster.log_mark();
    setup.cluster.sighup();
    setup.cluster.wait_for_log(mark, LIMIT, "contains errors");
    let failures = said(&ADMINISTRATOR, "failure");
    assert!(failures.contains("cannot load its configuration"), "{failures}");
    assert!(
        failures.contains("no_such_setting: unrecognized configuration parameter"),
        "{failures}"
    );
}

/// Settings that wait for a restart and have nothing to do with us are nobody's fault.
#[test]
fn a81_a_setting_that_waits_for_a_restart_is_no_failure() {
    let setup = good();
    setup.cluster.set_conf("max_locks_per_transaction = 99");
    reload(&setup);
    is_well(&setup, &ADMINISTRATOR);
    let report = report(Account::server(), &setup, &ADMINISTRATOR);
    assert!(!texts(&report, "failure").contains("configuration"), "{report:#}");
}
