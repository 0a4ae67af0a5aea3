//! A36: pgsvid's user can log in as a superuser over the socket, and so can anyone who takes over pgsvid.

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
    setup.cluster.reload();
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
fn a36_a_user_that_may_be_a_superuser_is_reported_and_the_remedy_ends_it() {
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
    // Its remedy ends both lines, so it is told once.
    assert_eq!(warnings.len(), 1, "{before:#}");
    let text = warnings[0]["text"].as_str().unwrap();
    assert!(text.contains(&format!("pg_hba.conf line 2 {place}")), "{text}");
    // The lines as they are printed.
    let fix = warnings[0]["fix"].as_str().unwrap();
    let lines: Vec<&str> = fix.split('`').skip(1).step_by(2).collect();
    assert!(fix.contains("above pg_hba.conf line 2"), "{fix}");
    let hba = hba.replace("local all all peer", &format!("{}\nlocal all all peer", lines[1]));
    write(&setup, &hba, &format!("{ident}{}\n", lines[0]));
    eventually(LIMIT, "the user is no superuser", || {
        !psql(&setup, account.uid(), name).status.success()
    });
    let root = psql(&setup, 0, name);
    assert!(root.status.success(), "{root:?}");
    let after = report(account, &setup, &[]);
    assert_eq!(found(&after, "warning"), [&Value::Null; 0]);
    assert_eq!(found(&after, "ok").len(), 1, "{after:#}");
}

/// The commands of pgsvid go on after its own remedy: `check` as the superuser runs as root, and `setup` says what lets it in.
#[test]
fn f75_after_the_remedy_against_a_superuser_over_the_socket_the_printed_remedies_go_on() {
    let setup = setup();
    let name = Account::server().name();
    assert_eq!(name, "postgres", "this test is about Debian's names");
    let hba = "local postgres pgsvid peer map=pgsvid\nlocal all,replication postgres peer map=superuser\n\
               local all all peer\n";
    let ident = "pgsvid postgres pgsvid\nsuperuser root postgres\n";
    write(&setup, hba, ident);
    eventually(LIMIT, "the user is no superuser", || {
        !psql(&setup, Account::server().uid(), "postgres").status.success()
    });
    let check = |account: &Account| report(account, &setup, &["--user", "postgres"]);
    let refused = |report: &Value| {
        let sections = report["sections"].as_array().unwrap().clone();
        let findings = sections.into_iter();
        let mut findings = findings.flat_map(|it| it["findings"].as_array().unwrap().clone());
        findings.find(|it| it["code"] == "role-login-refused")
    };
    let found = refused(&check(Account::server())).unwrap();
    // No line of another map locks root out.
    assert!(found["command"].is_null(), "{found:#}");
    assert!(found["fix"].as_str().unwrap().contains("run this command as root"), "{found:#}");
    assert_eq!(refused(&check(Account::current())), None);

    let apply = || {
        let all = setup.arguments();
        let mut usual: Vec<&str> = all
            .chunks(2)
            .filter(|it| !["--endpoint", "--log-format"].contains(&it[0].as_str()))
            .flatten()
            .map(String::as_str)
            .collect();
        usual.splice(0..0, ["setup", "apply", "--yes"]);
        Command::new(PGSVID).args(usual).current_dir("/").output().unwrap()
    };
    let output = apply();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{told}");
    // The line and the command as they are printed.
    let line = told.split('`').nth(1).unwrap();
    write(&setup, hba, &format!("{ident}{line}\n"));
    let (_, command) = told.split_once("reload as root (").unwrap();
    let (command, _) = command.split_once("), run setup again").unwrap();
    let reload = || Command::new("bash").args(["-c", command]).current_dir("/").output().unwrap();
    let output = reload();
    assert!(output.status.success(), "{command}: {output:?}");
    eventually(LIMIT, "setup works", || apply().status.success());
    write(&setup, hba, ident);
    assert!(reload().status.success());
    assert!(psql(&setup, 0, "postgres").status.success());
}

#[test]
fn a36_trust_and_maps_on_the_socket_are_reported_with_the_line() {
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
        let severity = if hba.ends_with("trust") { "failure" } else { "warning" };
        let warnings = found(&report, severity);
        let [warning] = warnings[..] else { panic!("{hba}: {warnings:#?}") };
        assert!(warning["fix"].as_str().unwrap().contains(place), "{warning:#}");
    }
}

/// Runs the first command of a remedy as it is printed, as the user that may be the superuser.
fn paste(finding: &Value) {
    let fix = finding["fix"].as_str().unwrap();
    let (command, _) = fix.split_once("; pgsvid setup").unwrap();
    let account = Account::server();
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", command]).uid(account.uid()).current_dir("/").output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

#[test]
fn a84_roles_that_are_superusers_by_membership_count_as_superusers() {
    let setup = setup();
    let account = Account::server();
    let name = account.name();
    let own = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    let ours =
        "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n";
    let hba = format!("{ours}local all dba peer map=m\nhostssl all dba,app all cert map=w\n");
    write(&setup, &hba, &format!("{own}m {name} dba\nw one.example app\nw two.example dba\n"));
    let admin = |statement: &str| setup.cluster.sql("postgres", "postgres", statement);
    admin("CREATE ROLE dba LOGIN; CREATE ROLE app LOGIN; CREATE ROLE admins");
    let words = ["over the socket as superuser dba", "by its certificate as superuser"];
    let texts = || {
        let report = report(account, &setup, &[]);
        crate::attacks::endless::texts(&report, "warning")
    };
    let before = texts();
    assert!(!words.iter().any(|words| before.contains(words)), "{before}");

    admin("GRANT postgres TO admins; GRANT admins TO dba");
    // What the attack is.
    setup.cluster.sql("dba", "postgres", "SET ROLE postgres; CREATE ROLE planted SUPERUSER");
    let after = texts();
    let by = "dba (by its membership in admins)";
    assert!(
        after.contains(&format!("{name}, log in over the socket as superuser {by}")),
        "{after}"
    );
    let mapped = format!("line 5 lets two.example log in by its certificate as superuser {by}");
    assert!(after.contains(&mapped), "{after}");
    assert!(!after.contains("one.example"), "{after}");
    // A line that does not name the role lets in nobody as it.
    let hba = hba.replace("dba,app all cert", "app all cert");
    write(&setup, &hba, &format!("{own}w two.example dba\n"));
    assert!(!words.iter().any(|words| texts().contains(words)), "{}", texts());
}

#[test]
fn a84_the_own_role_that_can_make_itself_a_superuser_is_reported_and_the_remedy_ends_it() {
    let setup = setup();
    let account = Account::server();
    let name = account.name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    let hba = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n";
    write(&setup, hba, &ident);
    let admin = |statement: &str| setup.cluster.sql("postgres", "postgres", statement);
    admin("CREATE ROLE files; GRANT pg_write_server_files TO files");
    let version: u32 = admin("SHOW server_version_num").parse().unwrap();
    let mut ways = vec![
        ("GRANT files TO pgsvid", "pgsvid (by its membership in files)"),
        (
            "GRANT pg_execute_server_program TO pgsvid",
            "pgsvid (by its membership in pg_execute_server_program)",
        ),
    ];
    if version < 160_000 {
        ways.push(("ALTER ROLE pgsvid CREATEROLE", "pgsvid (by CREATEROLE)"));
    }
    let found = || {
        let report = report(account, &setup, &[]);
        let sections = report["sections"].as_array().unwrap().clone();
        let findings =
            sections.into_iter().flat_map(|it| it["findings"].as_array().unwrap().clone());
        findings
            .filter(|it| it["text"].as_str().unwrap().contains("can make itself a superuser"))
            .collect::<Vec<Value>>()
    };
    assert_eq!(found(), [Value::Null; 0]);
    for (statement, words) in ways {
        admin(statement);
        let all = found();
        let [finding] = &all[..] else { panic!("{statement}: {all:?}") };
        assert!(finding["text"].as_str().unwrap().contains(words), "{finding:#}");
        assert_eq!(finding["severity"], "warning");
        paste(finding);
        assert_eq!(found(), [Value::Null; 0], "{statement}");
    }
}
