//! Remedies about the map that pgsvid itself publishes, and restores: each names pgsvid's configuration and a restart.

use serde_json::Value;
use test_support::{Account, LIMIT, Pgsvid, Setup, eventually};

use crate::judged::{PGSVID, check, findings, lines, one, reload, start};

/// A workload of `[[roles]]`, by its name.
fn workload(name: &str) -> String {
    format!("[[roles]]\nspiffe_id = 'spiffe://example.org/{name}'\nrole = 'app'\ncn = '{name}'\n")
}

/// PostgreSQL reads the map that pgsvid publishes, and pgsvid runs.
fn running(ident_lines: &str, roles: &str) -> (Setup, Pgsvid) {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| {
            cluster.hba("hostssl all app 127.0.0.1/32 cert clientname=DN map=spiffe")
        })
        .create();
    configure(&setup, ident_lines, roles);
    start(&setup);
    setup.cluster.set_conf(&format!("ident_file = '{}'", setup.files.join("map.conf").display()));
    setup.cluster.restart();
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    (setup, pgsvid)
}

/// The map has the line by which the tests' superuser logs in, and these.
fn configure(setup: &Setup, ident_lines: &str, roles: &str) {
    let own = Account::server().name();
    setup.configure(&format!(
        "[files]\nident = 'map.conf'\nident_lines = ['administration {own} postgres', {ident_lines}]\n{roles}"
    ));
}

/// pgsvid has published the map with or without this text.
fn wait_for_map(setup: &Setup, has: bool, text: &str) {
    eventually(LIMIT, "the map is published", || {
        let map = std::fs::read_to_string(setup.files.join("map.conf")).unwrap_or_default();
        map.contains(text) == has
    });
}

fn restart(setup: &Setup, pgsvid: Pgsvid) -> Pgsvid {
    pgsvid.terminate(LIMIT);
    drop(pgsvid);
    let again = setup.spawn();
    again.event("rotated");
    again
}

/// Whether this account can log in as superuser over the socket.
fn can_be_superuser(setup: &Setup, account: &Account) -> bool {
    let report = crate::attacks::planted_texts::report(account, setup, &["--user", "postgres"]);
    findings(&report)
        .iter()
        .any(|found| found["code"] == "reload-privilege" && found["severity"] == "ok")
}

/// As printed before, the remedy locked each superuser out: pgsvid restored the map without the line.
#[test]
fn b133_the_remedy_that_leaves_the_superuser_to_root_locks_nobody_out() {
    if !rustix::process::geteuid().is_root() || Account::server().name() != "postgres" {
        return;
    }
    let (setup, pgsvid) = running("", &workload("localhost"));
    let superuser = |report: &Value| -> Vec<String> {
        let finding = one(report, "warning", "superuser-over-socket");
        lines(finding).into_iter().map(str::to_owned).collect()
    };
    let hba = std::fs::read_to_string(setup.cluster.data_directory().join("pg_hba.conf")).unwrap();
    setup.cluster.write_file(
        "pg_hba.conf",
        &format!("local postgres pgsvid peer map=pgsvid\nlocal all all peer\n{hba}"),
    );
    reload(&setup);
    let report =
        crate::attacks::planted_texts::report(Account::server(), &setup, &["--user", "postgres"]);
    let printed = superuser(&report);
    let [entry, line, ..] = &printed[..] else { panic!("{printed:?}") };
    let fix = one(&report, "warning", "superuser-over-socket")["fix"].as_str().unwrap();
    assert!(fix.contains("files.ident_lines") && fix.contains("restart pgsvid"), "{fix}");
    configure(&setup, entry, &workload("localhost"));
    let _pgsvid = restart(&setup, pgsvid);
    wait_for_map(&setup, true, "superuser root postgres");
    setup.cluster.write_file(
        "pg_hba.conf",
        &format!("local postgres pgsvid peer map=pgsvid\n{line}\nlocal all all peer\n{hba}"),
    );
    setup.cluster.sighup();
    eventually(LIMIT, "root alone is a superuser over the socket", || {
        can_be_superuser(&setup, Account::current()) && !can_be_superuser(&setup, Account::server())
    });
}

/// A workload that was removed from `[[roles]]` is let in until pgsvid restarts, and its line comes back when somebody removes it.
#[test]
fn b134_a_workload_that_was_removed_from_the_configuration_is_a_failure_until_pgsvid_restarts() {
    let both = format!("{}{}", workload("localhost"), workload("removed"));
    let (setup, pgsvid) = running("", &both);
    wait_for_map(&setup, true, "removed");
    configure(&setup, "", &workload("localhost"));
    let report = check(&setup, &[]);
    let finding = one(&report, "failure", "roles-ident-line-extra");
    let fix = finding["fix"].as_str().unwrap();
    assert!(fix.starts_with("restart pgsvid"), "{fix}");
    let _pgsvid = restart(&setup, pgsvid);
    wait_for_map(&setup, false, "removed");
    reload(&setup);
    let report = check(&setup, &[]);
    assert!(findings(&report).iter().all(|found| found["code"] != "roles-ident-line-extra"));
    // A workload that was added is not let in before the restart, either.
    configure(&setup, "", &both);
    let report = check(&setup, &[]);
    let fix = one(&report, "failure", "roles-ident-line-missing")["fix"].as_str().unwrap();
    assert!(fix.starts_with("restart pgsvid"), "{fix}");
}
