//! A36: pgsvid's user may be a superuser over the socket, and so may anyone who takes over pgsvid.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use serde_json::Value;
use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::PGSVID;
use crate::attacks::planted_texts::report;

/// The findings of that severity about the user and superusers.
fn found<'a>(report: &'a Value, severity: &str) -> Vec<&'a Value> {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    findings
        .filter(|finding| finding["severity"] == severity)
        .filter(|finding| finding["text"].as_str().unwrap().contains("over the socket"))
        .collect()
}

fn setup() -> Setup {
    let setup = Setup::new(PGSVID);
    setup.configure("");
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.cluster.start();
    setup
}

/// Writes both files, and waits until the server has them.
fn write(setup: &Setup, hba: &str, ident: &str) {
    setup.cluster.write_file("pg_hba.conf", hba);
    setup.cluster.write_file("pg_ident.conf", ident);
    let mark = setup.cluster.log_mark();
    setup.cluster.sighup();
    setup.cluster.wait_for_log(mark, LIMIT, "received SIGHUP");
}

/// psql as that user of the machine.
fn psql(setup: &Setup, uid: u32, role: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-U", role, "-d", "postgres", "-c", "SELECT 1", "-p"])
        .arg(setup.cluster.port().to_string())
        .arg("-h")
        .arg(setup.cluster.socket_directory())
        .uid(uid)
        .current_dir("/")
        .output()
        .unwrap()
}

#[test]
fn a36_a_user_that_may_be_a_superuser_is_told_and_the_remedy_ends_it() {
    let setup = setup();
    let account = Account::server();
    let name = account.name();
    let exists = format!("SELECT 1 FROM pg_roles WHERE rolname = '{name}'");
    if setup.cluster.sql("postgres", "postgres", &exists).is_empty() {
        let role = format!("CREATE ROLE \"{name}\" LOGIN SUPERUSER");
        setup.cluster.sql("postgres", "postgres", &role);
    }
    let hba =
        "local postgres pgsvid peer map=pgsvid\nlocal all all peer\nlocal replication all peer\n";
    let ident = format!("pgsvid {name} pgsvid\n");
    write(&setup, hba, &ident);
    assert!(psql(&setup, account.uid(), name).status.success());

    let before = report(account, &setup, &[]);
    let warnings = found(&before, "warning");
    let place = format!("lets pgsvid's user, {name}, log in over the socket as superuser {name}");
    for line in ["pg_hba.conf line 2 ", "pg_hba.conf line 3 "] {
        let text = format!("{line}{place}");
        assert!(warnings.iter().any(|found| found["text"].as_str().unwrap().contains(&text)));
    }
    // The lines as they are printed.
    let fix = warnings[0]["fix"].as_str().unwrap();
    let lines: Vec<&str> = fix.split('`').skip(1).step_by(2).collect();
    assert!(fix.contains("above pg_hba.conf line 2"), "{fix}");
    let hba = hba.replace("local all all peer", &format!("{}\nlocal all all peer", lines[0]));
    write(&setup, &hba, &format!("{ident}{}\n", lines[1]));
    eventually(LIMIT, "the user is no superuser", || {
        !psql(&setup, account.uid(), name).status.success()
    });
    let root = psql(&setup, 0, name);
    assert!(root.status.success(), "{root:?}");
    let after = report(account, &setup, &[]);
    assert_eq!(found(&after, "warning"), [&Value::Null; 0]);
    assert_eq!(found(&after, "ok").len(), 1, "{after:#}");
}

#[test]
fn a36_trust_and_maps_on_the_socket_are_told_with_the_line() {
    let setup = setup();
    let account = Account::server();
    let name = account.name();
    let own = format!("pgsvid {name} pgsvid\n");
    for (hba, ident, place) in [
        ("local all all trust", own.clone(), "write peer instead of trust in pg_hba.conf line 2"),
        (
            "local all postgres peer map=m",
            format!("{own}m {name} postgres\n"),
            "let pg_ident.conf line 2 name another user",
        ),
        (
            "local all postgres peer map=m",
            format!("{own}m /^(.*)$ postgres\n"),
            "let pg_ident.conf line 2 name another user",
        ),
    ] {
        write(&setup, &format!("local postgres pgsvid peer map=pgsvid\n{hba}\n"), &ident);
        eventually(LIMIT, "the user is a superuser", || {
            psql(&setup, account.uid(), "postgres").status.success()
        });
        let report = report(account, &setup, &[]);
        let warnings = found(&report, "warning");
        let [warning] = warnings[..] else { panic!("{hba}: {warnings:#?}") };
        assert!(warning["fix"].as_str().unwrap().contains(place), "{warning:#}");
    }
}
