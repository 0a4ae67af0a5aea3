//! B59: PostgreSQL could not read `pg_hba.conf` at its last reload, and can by now: its former rules are in force.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use test_support::{Account, LIMIT, Psql, Setup};

use crate::attacks::endless::{started, texts};
use crate::attacks::hidden_rules::{ALL_CLEAR, GOOD};
use crate::attacks::planted_texts::report;
use crate::judged::{found, one, reload};

const OPEN: &str = "host all all 127.0.0.1/32 trust\n";

/// Whether anybody is a superuser.
fn is_open(setup: &Setup) -> bool {
    let place = format!(
        "host=127.0.0.1 port={} dbname=postgres user=postgres sslmode=disable",
        setup.cluster.port()
    );
    Psql::new().arg(place).script("SELECT 1").run().status.success()
}

#[track_caller]
fn is_no_all_clear(report: &Value) {
    let ok = texts(report, "ok");
    assert!(!ok.contains(ALL_CLEAR) && !ok.contains("is no superuser"), "{report:#}");
}

#[test]
fn b59_rules_that_could_not_be_read_at_the_last_reload_are_no_all_clear() {
    let setup = started();
    let (server, other) = (Account::server(), Account::third().expect("the tests run as root"));
    let directory = setup.other.subdirectory("etc");
    let write = |hba: &str| setup.other.write("etc/pg_hba.conf", hba, 0o600);
    let file = write(&format!("{OPEN}{GOOD}"));
    setup.cluster.set_conf(&format!("hba_file = '{}'", file.display()));
    setup.cluster.write_file(
        "pg_ident.conf",
        &format!(
            "pgsvid {name} pgsvid\nadministration {name} postgres\nadministration {} postgres\n",
            other.name(),
            name = server.name()
        ),
    );
    setup.cluster.restart();
    assert!(is_open(&setup));
    let roles =
        [(server, &[][..]), (server, &["--user", "postgres"]), (&other, &["--user", "postgres"])];

    // The line is taken out, and the directory is closed at the reload alone.
    let close = |mode: u32| {
        std::fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    };
    write(GOOD);
    close(0o000);
    let mark = setup.cluster.log_mark();
    reload(&setup);
    setup.cluster.wait_for_log(mark, LIMIT, "pg_hba.conf was not reloaded");
    // The server tells times in whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    close(0o755);
    assert!(is_open(&setup));
    for (account, more) in &roles[..2] {
        let report = report(account, &setup, more);
        one(&report, "failure", "access-files-loaded");
        is_no_all_clear(&report);
    }
    // Without the log, the directory tells it.
    let log = std::fs::read_link(format!("/proc/{}/fd/2", setup.cluster.pid())).unwrap();
    OpenOptions::new().write(true).truncate(true).open(log).unwrap();
    for (account, more) in roles {
        let report = report(account, &setup, more);
        let skipped = found(&report, "skipped", "access-files-loaded");
        let of_directory = skipped.iter().any(|found| found["text"].to_string().contains("/etc;"));
        assert!(of_directory, "{more:?}: {report:#}");
        is_no_all_clear(&report);
    }
    let before = report(server, &setup, &["--user", "postgres"]);
    crate::judged::paste(one(&before, "skipped", "access-files-loaded"));
    test_support::eventually(LIMIT, "the rules are loaded", || !is_open(&setup));
    for more in [&[][..], &["--user", "postgres"]] {
        let report = report(server, &setup, more);
        assert!(texts(&report, "ok").contains(ALL_CLEAR), "{more:?}: {report:#}");
    }
}
