//! A36: other users can replace files that pgsvid or PostgreSQL reads, or pgsvid may read more than intended.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::process::Command;

use rustix::fs::{Mode, chmod};
use serde_json::Value;
use test_support::{Account, Directory, Setup};

use crate::attacks::PGSVID;
use crate::attacks::endless::started;
use crate::attacks::planted_texts::report;

/// The warnings whose text holds these words.
fn warnings<'a>(report: &'a Value, words: &str) -> Vec<&'a Value> {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    findings
        .filter(|finding| finding["severity"] == "warning")
        .filter(|finding| finding["text"].as_str().unwrap().contains(words))
        .collect()
}

#[test]
fn a36_files_that_others_can_exchange_are_reported_and_the_remedy_ends_it() {
    let other = Directory::new();
    let directory = other.subdirectory("open");
    let link = other.join("link.pem");
    let setup = Setup::builder(PGSVID);
    let setup = setup
        .cluster(|cluster| {
            cluster.conf("ssl = off").conf(&format!("ssl_ca_file = '{}'", link.display()))
        })
        .create();
    let authority = other.write("ca.pem", setup.agent.svid().bundle_pem(), 0o644);
    std::fs::rename(authority, directory.join("ca.pem")).unwrap();
    std::os::unix::fs::symlink("open/ca.pem", &link).unwrap();
    chmod(&directory, Mode::from_raw_mode(0o777)).unwrap();
    setup.configure(&format!("[files]\nextra_authorities = ['{}']", link.display()));
    setup.cluster.start();

    let before = report(Account::server(), &setup, &["--user", "postgres"]);
    let found = warnings(&before, "other users of this machine can replace");
    let [extra, setting] = found[..] else { panic!("{before:#}") };
    assert!(extra["text"].as_str().unwrap().starts_with("files.extra_authorities"), "{extra:#}");
    assert!(setting["text"].as_str().unwrap().contains("link.pem"), "{setting:#}");
    let command = extra["fix"].as_str().unwrap();
    assert!(Command::new("bash").args(["-c", command]).status().unwrap().success(), "{command}");
    let after = report(Account::server(), &setup, &["--user", "postgres"]);
    assert_eq!(warnings(&after, "other users of this machine"), [&Value::Null; 0]);

    // The file's owner can write to it at any time.
    let another = Account::third().expect("the tests run as root");
    lchown(directory.join("ca.pem"), Some(another.uid()), None).unwrap();
    let before = report(Account::server(), &setup, &[]);
    let found =
        warnings(&before, "files.extra_authorities: other users of this machine can replace");
    let (_, command) = found[0]["fix"].as_str().unwrap().split_once("as root: ").unwrap();
    assert!(Command::new("bash").args(["-c", command]).status().unwrap().success(), "{command}");
    let after = report(Account::server(), &setup, &[]);
    assert_eq!(warnings(&after, "other users of this machine"), [&Value::Null; 0]);
}

#[test]
fn a36_a_data_directory_that_the_sandbox_lets_pgsvid_read_is_reported() {
    let setup = Setup::builder(PGSVID).cluster(|cluster| cluster.conf("ssl = off")).create();
    setup.cluster.start();
    let data = setup.cluster.data_directory();
    for (place, count) in [(setup.other.path(), 0), (data.parent().unwrap(), 1), (&data, 1)] {
        let file = place.join("ca.pem");
        let written = setup.other.write("written.pem", setup.agent.svid().bundle_pem(), 0o644);
        std::fs::copy(written, &file).unwrap();
        setup.configure(&format!("[files]\nextra_authorities = ['{}']", file.display()));
        let report = report(Account::server(), &setup, &[]);
        assert_eq!(warnings(&report, "can read the data").len(), count, "{file:?} {report:#}");
    }
}

/// The access files, what they name, and the configuration decide who is let in, too.
#[test]
fn a83_files_of_access_and_configuration_that_others_can_exchange_are_reported() {
    let setup = started();
    let data = setup.cluster.data_directory();
    setup.cluster.write_file("who", "app\n");
    setup.cluster.write_file("list.pem", "");
    std::fs::create_dir(data.join("more")).unwrap();
    lchown(data.join("more"), Some(Account::server().uid()), None).unwrap();
    setup.cluster.write_file("more/1.conf", "ssl_crl_file = 'list.pem'\n");
    setup.cluster.set_conf("include_dir 'more'");
    setup.cluster.set_hba("local postgres pgsvid peer map=pgsvid\nhostssl all @who all cert");
    setup.cluster.sighup();
    let words = "other users of this machine can replace";
    let found = || -> Vec<(String, String)> {
        let report = report(Account::server(), &setup, &[]);
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let found = warnings(&report, words).into_iter();
        found.map(|finding| (text(finding, "text"), text(finding, "fix"))).collect()
    };
    assert_eq!(found(), []);
    let another = Account::third().expect("the tests run as root");
    for name in
        ["pg_hba.conf", "pg_ident.conf", "who", "postgresql.conf", "more/1.conf", "list.pem"]
    {
        let path = data.join(name);
        let before = std::fs::read(&path).unwrap();
        for is_foreign in [false, true] {
            if is_foreign {
                lchown(&path, Some(another.uid()), None).unwrap();
            }
            // A copy with the same bits that belongs to root would be a program of root's.
            let mode = if is_foreign { 0o6755 } else { 0o606 };
            chmod(&path, Mode::from_raw_mode(mode)).unwrap();
            // Anyone who could write to it still holds it open.
            let mut held = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            let all = found();
            let [(text, fix)] = &all[..] else { panic!("{name}: {all:?}") };
            assert!(text.ends_with(&format!("/{name}")), "{text}");
            let (_, command) = fix.split_once("as root: ").unwrap();
            assert!(Command::new("bash").args(["-c", command]).status().unwrap().success());
            assert_eq!(found(), [], "{name}: {command}");
            held.write_all(b"host all all all trust\n").unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
            let after = std::fs::metadata(&path).unwrap();
            assert_eq!(after.uid(), Account::server().uid(), "{name}");
            assert_eq!(after.mode() & 0o7022, 0, "{name}");
        }
    }
    chmod(data.join("more"), Mode::from_raw_mode(0o777)).unwrap();
    let all = found();
    let [(_, fix)] = &all[..] else { panic!("{all:?}") };
    assert!(Command::new("bash").args(["-c", fix]).status().unwrap().success(), "{fix}");
    assert_eq!(found(), []);
}
