//! A97: files that decide who may log in, and that PostgreSQL itself cannot read.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::endless::{started, texts};
use crate::attacks::planted_texts::report;

const HBA: &str = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n\
                   hostssl all all all cert\n";
const ALL_CLEAR: [&str; 2] = ["TLS clients need a certificate", "is no superuser over the socket"];
const ADMINISTRATOR: [&str; 2] = ["--user", "postgres"];

/// A server that lets in pgsvid and the test from root, too.
fn setup() -> Setup {
    let setup = started();
    let name = Account::server().name();
    let ident = format!(
        "pgsvid {name} pgsvid\npgsvid root pgsvid\nadministration {name} postgres\nadministration root postgres\n"
    );
    setup.cluster.write_file("pg_ident.conf", &ident);
    setup.cluster.write_file("pg_hba.conf", HBA);
    setup.cluster.restart();
    setup
}

fn own(path: &Path, uid: u32, mode: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A reload, and what the server says of it.
fn reload(setup: &Setup, words: &str) {
    let mark = setup.cluster.log_mark();
    setup.cluster.sighup();
    setup.cluster.wait_for_log(mark, LIMIT, words);
}

/// Fails unless root is told that, and gives what it is to type.
#[track_caller]
fn tells_root(setup: &Setup, words: &str) -> String {
    let mut fix = String::new();
    for more in [&[][..], &ADMINISTRATOR] {
        let report = report(Account::current(), setup, more);
        let sections = report["sections"].as_array().unwrap();
        let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
        let failures = findings.filter(|finding| finding["severity"] == "failure");
        let told = failures
            .filter(|finding| finding["text"].as_str().unwrap().contains(words))
            .find_map(|finding| finding["fix"].as_str());
        told.unwrap_or_else(|| panic!("{words}: {report:#}")).clone_into(&mut fix);
        let ok = texts(&report, "ok");
        assert!(!ALL_CLEAR.iter().any(|words| ok.contains(words)), "{ok}");
    }
    fix
}

#[track_caller]
fn is_well(setup: &Setup) {
    for account in [Account::current(), Account::server()] {
        for more in [&[][..], &ADMINISTRATOR] {
            let report = report(account, setup, more);
            assert!(texts(&report, "ok").contains(ALL_CLEAR[0]), "{report:#}");
        }
    }
}

fn bash(command: &str) {
    let output = Command::new("bash").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
}

#[test]
fn a97_a_file_that_postgresql_cannot_read_is_reported_and_the_remedy_ends_it() {
    let setup = setup();
    is_well(&setup);
    // Rules that let in everybody stay in force, since the new ones cannot be read.
    let hba = setup.cluster.data_directory().join("pg_hba.conf");
    setup.cluster.write_file("pg_hba.conf", &format!("{HBA}host all all all trust\n"));
    reload(&setup, "received SIGHUP");
    let place = format!(
        "host=127.0.0.1 port={} dbname=postgres user=postgres sslmode=disable",
        setup.cluster.port()
    );
    let is_let_in =
        || test_support::Psql::new().arg(&place).script("SELECT 1").run().status.success();
    // The signal is logged before the files are read.
    eventually(LIMIT, "everybody is let in", is_let_in);
    setup.cluster.write_file("new", HBA);
    own(&setup.cluster.data_directory().join("new"), 0, 0o600);
    std::fs::rename(setup.cluster.data_directory().join("new"), &hba).unwrap();
    reload(&setup, "pg_hba.conf\": Permission denied");
    assert!(is_let_in(), "the former rules are in force");

    let uid = setup.cluster.uid();
    let fix = tells_root(&setup, &format!("PostgreSQL (uid {uid}) cannot read "));
    // Its own user, as a superuser: the cause is no privilege of pgsvid's role.
    let seen = report(Account::server(), &setup, &ADMINISTRATOR);
    let failures = texts(&seen, "failure");
    assert!(failures.contains("cannot read a file that decides who may log in"), "{seen:#}");
    assert!(!failures.contains("may not call pg_reload_conf()"), "{seen:#}");

    bash(fix.strip_prefix("as root: ").unwrap().strip_suffix(", then reload").unwrap());
    reload(&setup, "received SIGHUP");
    is_well(&setup);
    eventually(LIMIT, "nobody is let in any more", || !is_let_in());
}

#[test]
fn a97_a_directory_on_the_way_that_postgresql_may_not_enter_is_reported_and_groups_count() {
    let setup = setup();
    let closed = setup.other.subdirectory("closed");
    let list = setup.other.write("closed/who", "app\n", 0o644);
    let hba = format!("{HBA}hostssl all @{} all reject\n", list.display());
    setup.cluster.write_file("pg_hba.conf", &hba);
    let (uid, gid) = (setup.cluster.uid(), setup.cluster.gid());
    own(&closed, 0, 0o700);
    reload(&setup, "Permission denied");
    let fix = tells_root(&setup, &format!("PostgreSQL (uid {uid}) cannot read {}", list.display()));
    assert!(fix.contains("not to PostgreSQL"), "{fix}");
    own(&closed, 0, 0o755);
    reload(&setup, "received SIGHUP");
    is_well(&setup);
    // By its group the server may read it; by root's it may not.
    for (group, mode, may) in [(gid, 0o640, true), (0, 0o640, false), (0, 0o604, true)] {
        chown(&list, Some(0), Some(group)).unwrap();
        std::fs::set_permissions(&list, std::fs::Permissions::from_mode(mode)).unwrap();
        reload(&setup, if may { "received SIGHUP" } else { "Permission denied" });
        if may {
            is_well_for_root(&setup);
        } else {
            tells_root(&setup, "cannot read ");
        }
    }
}

/// PostgreSQL's user, or a superuser of its, names a file that it wants to read; root does what it is told.
#[test]
fn b35_no_remedy_opens_a_file_of_somebody_elses_that_a_line_names() {
    let setup = setup();
    let data = setup.cluster.data_directory();
    let another = Account::third().expect("the tests run as root");
    let closed = setup.other.subdirectory("closed");
    let below = setup.other.write("closed/below", "secret\n", 0o644);
    own(&closed, 0, 0o700);
    let elsewhere = setup.other.write("roots", "secret\n", 0o600);
    own(&elsewhere, 0, 0o600);
    let theirs = setup.other.write("theirs", "secret\n", 0o600);
    own(&theirs, another.uid(), 0o600);
    std::os::unix::fs::symlink(&elsewhere, data.join("link")).unwrap();
    std::fs::hard_link(&elsewhere, setup.other.join("second")).unwrap();
    let named = [elsewhere.clone(), theirs, below, setup.other.join("second"), "link".into()];
    for path in named {
        let hba =
            HBA.replace("hostssl", &format!("hostssl all @{} all reject\nhostssl", path.display()));
        setup.cluster.write_file("pg_hba.conf", &hba);
        let fix = tells_root(&setup, "cannot read ");
        assert!(fix.starts_with("see why a line names a file there"), "{path:?}: {fix}");
        assert!(!fix.contains("chmod") && !fix.contains("chown"), "{path:?}: {fix}");
    }
}

/// The same by a setting, which `ALTER SYSTEM` changes.
#[test]
fn b35_no_remedy_opens_a_file_of_somebody_elses_that_a_setting_names() {
    let another = Account::third().expect("the tests run as root");
    let setup = crate::attacks::planted_texts::with("");
    let home = setup.other.subdirectory("home");
    let file = setup.other.write("home/private", "secret\n", 0o600);
    own(&home, another.uid(), 0o711);
    for (setting, mode) in [
        ("ssl_ca_file", 0o600),
        ("ssl_cert_file", 0o600),
        ("ssl_key_file", 0o644),
        ("ssl_ca_file", 0o666),
    ] {
        own(&file, another.uid(), mode);
        let statement = format!("ALTER SYSTEM SET {setting} = '{}'", file.display());
        setup.cluster.sql("postgres", "postgres", &statement);
        setup.cluster.sighup();
        eventually(LIMIT, "it is set", || {
            setup
                .cluster
                .sql("postgres", "postgres", &format!("SHOW {setting}"))
                .contains("private")
        });
        for account in [Account::current(), Account::server()] {
            let report = report(account, &setup, &["--user", "postgres"]);
            let sections = report["sections"].as_array().unwrap();
            let findings =
                sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
            let texts = findings.flat_map(|finding| [&finding["fix"], &finding["command"]]);
            for text in texts.filter_map(serde_json::Value::as_str) {
                let home = home.to_str().unwrap();
                assert!(!text.contains(home) || !text.contains("ch"), "{setting} {mode:o}: {text}");
            }
        }
        setup.cluster.sql("postgres", "postgres", &format!("ALTER SYSTEM RESET {setting}"));
    }
}

#[track_caller]
fn is_well_for_root(setup: &Setup) {
    let report = report(Account::current(), setup, &[]);
    assert!(texts(&report, "ok").contains(ALL_CLEAR[0]), "{report:#}");
}

/// The mode shows the list's mask: the list denies PostgreSQL's user what the mode seems to grant, or grants what it denies.
#[test]
fn b110_a_list_that_keeps_postgresql_out_is_reported_and_one_that_lets_it_in_is_not() {
    let setup = setup();
    let (uid, none) = (setup.cluster.uid(), u32::MAX);
    let hba = setup.cluster.data_directory().join("pg_hba.conf");
    let list = |user: u16, others: u16| {
        // The owner, a user by name, the group, the mask, the others (`linux/posix_acl_xattr.h`).
        let entries = [
            (0x01, 6, none),
            (0x02, user, uid),
            (0x04, 4, none),
            (0x10, 4, none),
            (0x20, others, none),
        ];
        let bytes = entries.iter().flat_map(|(tag, rights, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
        });
        let list: Vec<u8> = 2_u32.to_le_bytes().into_iter().chain(bytes).collect();
        own(&hba, 0, 0o640);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&hba, "system.posix_acl_access", &list, flags).unwrap();
    };
    list(4, 0);
    reload(&setup, "received SIGHUP");
    is_well_for_root(&setup);
    list(0, 4);
    assert_eq!(std::fs::metadata(&hba).unwrap().permissions().mode() & 0o777, 0o644);
    reload(&setup, "pg_hba.conf\": Permission denied");
    let fix = tells_root(&setup, &format!("PostgreSQL (uid {uid}) cannot read "));
    bash(fix.strip_prefix("as root: ").unwrap().strip_suffix(", then reload").unwrap());
    reload(&setup, "received SIGHUP");
    is_well(&setup);
}
