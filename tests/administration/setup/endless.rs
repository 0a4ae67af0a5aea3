//! The server's files never end, or never begin: setup waits for none, and none fills the memory.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use test_support::{Account, LIMIT, Program, Setup};

use crate::setup::{PGSVID, arguments, bare, configure, publish, run, state};

/// Address space that is enough for pgsvid, and not for what has no end.
const ENOUGH: &str = "--as=512000000";

/// Puts something in the place of a file: what becomes of a reader who only opens and reads.
type Trap = fn(&Path);

const TRAPS: [(&str, Trap); 3] = [
    ("a FIFO", |path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap()),
    ("a link to /dev/zero", |path| symlink("/dev/zero", path).unwrap()),
    ("8 GiB", |path| fs::File::create_new(path).unwrap().set_len(1 << 33).unwrap()),
];

/// Runs pgsvid with a file replaced, and puts it back. It has to end, and by itself.
#[track_caller]
fn ends(setup: &Setup, path: &Path, account: &Account, what: &[String]) -> i32 {
    let aside = path.with_extension("aside");
    let there = path.exists();
    if there {
        fs::rename(path, &aside).unwrap();
    }
    let mut code = None;
    for (name, trap) in TRAPS {
        trap(path);
        let uid = Some(setup.cluster.uid());
        lchown(path, uid, Some(setup.cluster.gid())).unwrap();
        let program = Program::reachable(PGSVID).display().to_string();
        let limited = [ENOUGH, "--", &program].map(str::to_owned);
        let arguments = limited.into_iter().chain(what.iter().cloned());
        let program = Program::spawn_as(account, "/usr/bin/prlimit", arguments, &[]);
        let status = program.wait_exit(LIMIT).code();
        let said = format!("{name} at {}: {:?}", path.display(), program.lines());
        assert!(status.is_some_and(|status| status < 2), "{status:?} {said}");
        assert!(code.is_none_or(|code| status == Some(code)), "{status:?} {said}");
        code = status;
        fs::remove_file(path).unwrap();
    }
    if there {
        fs::rename(&aside, path).unwrap();
    }
    code.unwrap()
}

fn applied() -> (Setup, PathBuf) {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    // So that root could log in without becoming anybody.
    setup.cluster.set_ident(&format!("administration {} postgres", Account::current().name()));
    setup.cluster.start();
    run(&setup, &["apply", "--hba", "--yes"]).well();
    let data = setup.cluster.data_directory();
    (setup, data)
}

#[test]
fn a06_a_record_without_an_end_is_refused_at_once() {
    let (setup, data) = applied();
    let record = data.join("pgsvid-setup.json");
    let before = state(&setup);
    for account in [Account::server(), Account::current()] {
        let revert = arguments(&setup, &["revert", "--yes"]);
        assert_eq!(ends(&setup, &record, account, &revert), 1);
    }
    assert_eq!(state(&setup), before);
    // For apply, there has to be something to do.
    run(&setup, &["revert", "--yes"]).well();
    let before = state(&setup);
    let apply = arguments(&setup, &["apply", "--yes"]);
    assert_eq!(ends(&setup, &record, Account::server(), &apply), 1);
    assert_eq!(state(&setup), before);
}

#[test]
fn a06_configuration_files_without_an_end_are_left_alone_at_once() {
    let (setup, data) = applied();
    let before = state(&setup);
    for name in ["pg_hba.conf", "pg_ident.conf"] {
        let revert = arguments(&setup, &["revert", "--yes"]);
        assert_eq!(ends(&setup, &data.join(name), Account::current(), &revert), 1);
        let apply = arguments(&setup, &["apply", "--hba", "--dry-run"]);
        assert_eq!(ends(&setup, &data.join(name), Account::current(), &apply), 0);
    }
    assert_eq!(state(&setup), before);
}

#[test]
fn a06_lock_files_without_an_end_keep_nobody_waiting() {
    let (setup, data) = applied();
    let before = state(&setup);
    let revert = arguments(&setup, &["revert", "--yes"]);
    assert_eq!(ends(&setup, &data.join("postmaster.pid"), Account::current(), &revert), 1);
    let lock = format!(".s.PGSQL.{}.lock", setup.cluster.port());
    let lock = setup.cluster.socket_directory().join(lock);
    let apply = arguments(&setup, &["apply", "--hba", "--dry-run"]);
    assert_eq!(ends(&setup, &lock, Account::current(), &apply), 0);
    assert_eq!(state(&setup), before);
}

#[test]
fn a06_check_waits_for_no_file_of_the_servers() {
    let (setup, data) = applied();
    let lock = format!(".s.PGSQL.{}.lock", setup.cluster.port());
    let lock = setup.cluster.socket_directory().join(lock);
    let check: Vec<String> =
        ["check".to_owned()].into_iter().chain(setup.arguments()).take(11).collect();
    for path in [&lock, &data.join("pg_hba.conf"), &data.join("postgresql.conf")] {
        ends(&setup, path, Account::current(), &check);
    }
}
