//! A20, A21, A22: texts that others have chosen, in the output of `check` and in its commands; and files that others have put
//! next to PostgreSQL's socket.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgsvid::publish::{Error, NotOurs, Reason};
use pgsvid::sql;
use rustix::io::Errno;
use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Program, Setup};

use crate::attacks::PGSVID;
use crate::attacks::planted_server::{listen_as, shared_directory, socket_in};

/// A server that runs without TLS, with a line in its configuration.
pub(crate) fn with(line: &str) -> Setup {
    let setup = Setup::builder(PGSVID);
    let setup = setup.cluster(|cluster| cluster.conf("ssl = off").conf(line)).create();
    setup.configure("");
    setup.cluster.start();
    setup
}

/// What `check` prints; of flags that are given twice the ones in `more` count.
fn check(account: &Account, setup: &Setup, more: &[&str]) -> String {
    let arguments = setup.arguments();
    let usual = arguments[..arguments.len() - 2].chunks(2);
    let usual = usual.filter(|pair| !more.contains(&pair[0].as_str())).flatten();
    let all = ["check"].into_iter().chain(usual.map(String::as_str)).chain(more.iter().copied());
    let program = Program::spawn_as(account, PGSVID, all, &[]);
    program.wait_exit(LIMIT);
    program.standard_output()
}

pub(crate) fn report(account: &Account, setup: &Setup, more: &[&str]) -> Value {
    let all = [&["--format", "json"], more].concat();
    serde_json::from_str(&check(account, setup, &all)).expect("a report")
}

/// Every remedy of a report.
fn remedies(report: &Value) -> Vec<&str> {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    findings.filter_map(|finding| finding["fix"].as_str()).collect()
}

#[test]
fn a20_a_setting_forges_no_section_and_moves_no_cursor() {
    let setup =
        with(r"ssl_cert_file = '/x\n\nForged        /svids\n  ok       all\033]0;x\007\302\233'");
    let printed = check(Account::server(), &setup, &["--user", "postgres"]);
    assert!(printed.contains("Forged"), "the setting is not shown: {printed}");
    assert!(!printed.lines().any(|line| line.starts_with("Forged")), "{printed}");
    assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
}

#[test]
fn a20_an_error_moves_no_cursor() {
    let place = Directory::new();
    let path = place.join("x\u{1b}[2J\u{202e}.toml");
    for what in [&["check"][..], &["setup", "apply"], &["fetch"], &["run"]] {
        let arguments = what.iter().copied().chain(["--config", path.to_str().unwrap()]);
        let program = Program::spawn(PGSVID, arguments, &[]);
        assert!(!program.wait_exit(LIMIT).success());
        let said = program.standard_error();
        assert!(said.contains(r"x\u{1b}[2J\u{202e}.toml"), "{what:?}: {said:?}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{what:?}: {said:?}");
    }
}

#[test]
fn a21_a_path_in_a_remedy_is_one_argument() {
    let hostile = Directory::new();
    let directory = hostile.subdirectory("x; touch PWNED; $(touch PWNED) it's");
    let key = directory.join("key");
    let placed = hostile.write("key", "no key", 0o644);
    fs::rename(placed, &key).unwrap();
    let value = key.to_str().unwrap().replace('\'', "''");
    let setup = with(&format!("ssl_key_file = '{value}'"));
    let report = report(Account::server(), &setup, &["--user", "postgres"]);
    let remedies = remedies(&report);
    let command = remedies.iter().find(|fix| fix.contains(" chmod ")).expect("a remedy");
    let place = Directory::new();
    let status = Command::new("bash").args(["-c", command]).current_dir(place.path()).status();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{command}");
    assert!(status.unwrap().success(), "{command}");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600, "{command}");
}

/// PostgreSQL's user puts a link in the place of a file after `check` has printed what to do about that, and root does it.
#[test]
fn a21_a_remedy_that_root_types_follows_no_link_to_a_file_of_roots() {
    let place = Directory::new();
    let key = place.write("key", "no key", 0o644);
    let setup = with(&format!("ssl_key_file = '{}'", key.display()));
    let report = report(Account::server(), &setup, &["--user", "postgres"]);
    let remedies = remedies(&report);
    let about = |fix: &&&str| fix.contains(key.to_str().unwrap()) && fix.contains("chmod");
    let command = remedies.iter().find(about).expect("a remedy");
    let roots = place.write("roots", "root's", 0o644);
    lchown(&roots, Some(0), Some(0)).unwrap();
    fs::rename(&key, place.join("aside")).unwrap();
    symlink(&roots, &key).unwrap();
    let status = Command::new("bash").args(["-c", command]).status().unwrap();
    assert!(!status.success(), "{command}");
    assert_eq!(fs::metadata(&roots).unwrap().mode() & 0o777, 0o644, "{command}");
}

/// What a shell makes of the command at the end of a text: the command's name and its arguments.
fn words(text: &str, command: &str) -> Vec<String> {
    let line = &text[text.find(command).unwrap_or_else(|| panic!("no {command} in {text}"))..];
    // A function in the command's place, so that nothing is done but by what should be an argument.
    let script = format!("{command}() {{ printf '%s\\0' {command} \"$@\"; }}; {line}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn a21_a_name_in_a_remedy_for_psql_is_one_argument() {
    let name = "it's; $(false) \"x\"";
    let settings = sql::Settings {
        host: "/s; false".into(),
        port: 5433,
        user: name.to_owned(),
        database: name.to_owned(),
        password_file: None,
        require_peer: None,
        purpose: sql::Purpose::Reload,
    };
    let quoted = sql::statements::identifier(name);
    let grant = sql::Error::no_grant().command(&settings).unwrap();
    let trigger = sql::Error::EventTrigger { name: name.to_owned() };
    let trigger = trigger.remedy(&settings).unwrap();
    for (text, statement) in [
        (&grant, sql::statements::grant_reload(name)),
        (&trigger, format!("ALTER EVENT TRIGGER {quoted} DISABLE")),
    ] {
        let database = format!("dbname='{}'", name.replace('\'', "\\'"));
        let wanted =
            ["-U", "postgres", "-d", &database, "-c", &statement, "-h", "/s; false", "-p", "5433"];
        assert_eq!(words(text, "psql")[1..], wanted, "{text}");
    }
}

#[test]
fn a21_a_path_in_a_remedy_about_the_published_directory_is_one_argument() {
    let path = PathBuf::from("/svids; $(false) it's\n");
    let (directory, ancestor) = (path.clone(), path.clone());
    let (owner, ours, mode) = (1, 2, 0o777);
    for (error, command) in [
        (Error::Open { directory: path.clone(), cause: Errno::NOENT }, "chown"),
        (Error::WritableByOthers { directory: path.clone(), mode }, "chmod"),
        (Error::WrongOwner { directory: path.clone(), owner, ours }, "chown"),
        (
            Error::ForeignAncestor {
                directory: directory.clone(),
                ancestor: ancestor.clone(),
                owner,
                ours,
            },
            "chown",
        ),
        (Error::WritableAncestor { directory, ancestor, mode }, "chmod"),
        (Error::NotOurs(NotOurs { path: path.clone(), reason: Reason::Kind }), "rm"),
    ] {
        let text = error.to_string();
        let (_, remedy) = text.rsplit_once(&format!("{command} ")).unwrap();
        let found = words(&format!("{command} {remedy}"), command);
        assert_eq!(found.last().unwrap(), path.to_str().unwrap(), "{text}");
    }
}

/// Root asks about a server that is down: nothing is said about its `pg_hba.conf`, and no user is named to run pgsvid as.
#[track_caller]
fn assert_nothing_is_believed(setup: &Setup, host: &Path, attacker: &Account, what: &str) {
    let host = host.to_str().unwrap();
    let report = report(Account::current(), setup, &["--postgres", host, "--port", "5432"]);
    let sections = report["sections"].as_array().unwrap();
    let access = sections.iter().find(|section| section["group"] == "access").unwrap();
    let findings = access["findings"].as_array().unwrap();
    assert!(findings.iter().all(|found| found["severity"] == "skipped"), "{what}: {access:#}");
    let advice = format!("run pgsvid as uid {}", attacker.uid());
    assert!(!remedies(&report).iter().any(|fix| fix.contains(&advice)), "{what}: {report:#}");
}

#[test]
fn a22_what_others_put_beside_the_socket_is_not_taken_for_postgresqls() {
    let attacker = Account::third().expect("the tests run as root");
    let setup = Setup::new(PGSVID);
    setup.configure("");
    let _pgsvid = setup.spawn();
    setup.wait_published();
    let other = Directory::new();
    let data = other.subdirectory("data");
    let hba = "host all all all trust\n";
    for (name, text) in [("pg_hba.conf", hba), ("pg_ident.conf", ""), ("postgresql.conf", "")] {
        let path = other.write(name, text, 0o644);
        fs::rename(path, data.join(name)).unwrap();
    }
    let plain = format!("1\n{}\n", data.display());
    let roots = other.write("roots", &plain, 0o644);
    lchown(&roots, Some(0), Some(0)).unwrap();

    let shared = shared_directory(&other);
    let (socket, lock) = (socket_in(&shared), shared.join(".s.PGSQL.5432.lock"));
    let give = |path: &Path| lchown(path, Some(attacker.uid()), Some(attacker.gid())).unwrap();

    // While PostgreSQL is down: a file, and a link to one that the attacker could not have written.
    fs::rename(other.write("lock", &plain, 0o644), &lock).unwrap();
    give(&lock);
    assert_nothing_is_believed(&setup, &shared, &attacker, "a lock file");
    fs::remove_file(&lock).unwrap();
    symlink(&roots, &lock).unwrap();
    give(&lock);
    assert_nothing_is_believed(&setup, &shared, &attacker, "a link");

    fs::remove_file(&lock).unwrap();
    fs::hard_link(&roots, &lock).unwrap();
    assert_nothing_is_believed(&setup, &shared, &attacker, "a hard link");

    // A socket where nobody listens.
    drop(UnixListener::bind(&socket).unwrap());
    give(&socket);
    assert_nothing_is_believed(&setup, &shared, &attacker, "a dead socket");
    fs::remove_file(&socket).unwrap();

    // Somebody who listens, beside a lock file that is root's.
    fs::remove_file(&lock).unwrap();
    fs::rename(&roots, &lock).unwrap();
    listen_as(&attacker, &socket, drop);
    assert_nothing_is_believed(&setup, &shared, &attacker, "a listener");

    // The same lock file counts where nobody listens, and the data directory has it, too.
    fs::rename(other.write("postmaster.pid", &plain, 0o644), data.join("postmaster.pid")).unwrap();
    fs::remove_file(&socket).unwrap();
    let host = shared.to_str().unwrap();
    let report = report(Account::current(), &setup, &["--postgres", host, "--port", "5432"]);
    assert!(report.to_string().contains(data.to_str().unwrap()), "{report:#}");
}
