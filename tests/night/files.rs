//! The published directory, and other programs that change it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use test_support::{
    Account, Directory, LIMIT, Program, SetupBuilder, Tmpfs, eventually, with_mounts,
};

use crate::night::Night;
use crate::table::{Fault, Remedy, USUAL, Word};
use crate::walk::walk;

pub(crate) const FAULTS: &[&Fault] =
    &[&FULL, &READ_ONLY, &GONE, &UNSAFE, &CHANGED, &KEY_MODE, &ANOTHER_HELPER, &TWO_INSTANCES];

const FULL: Fault = Fault {
    id: "N41",
    name: "the disk is full",
    plan: on_a_volume,
    make: |night| {
        let mut filler = File::create(night.setup.files.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        night.renew();
    },
    log: Some(("ERROR", "publication-failed")),
    word: Word::Degraded,
    target: &["published-set-newest"],
    check: Some(("failure", "directory-full")),
    remedy: Remedy::Done(|night, _| fs::remove_file(night.setup.files.join("filler")).unwrap()),
    ..USUAL
};

const READ_ONLY: Fault = Fault {
    id: "N42",
    name: "the directory is read-only",
    plan: on_a_volume,
    make: |night| {
        remount(night, "ro");
        night.renew();
    },
    log: Some(("ERROR", "publication-failed")),
    word: Word::Degraded,
    target: &["published-set-newest"],
    check: Some(("failure", "mount-read-only")),
    remedy: Remedy::Done(|night, _| remount(night, "rw")),
    ..USUAL
};

/// The sandbox binds the daemon to the directory that was there, so it ends, and the next one cannot open it.
const GONE: Fault = Fault {
    id: "N43",
    name: "the directory is gone",
    make: |night| fs::rename(night.setup.files.path(), night.setup.other.join("gone")).unwrap(),
    log: Some(("ERROR", "daemon-restarted")),
    word: Word::Silent,
    check: Some(("failure", "directory-missing")),
    failures: 4,
    remedy: Remedy::Done(|_, found| {
        let (_, command) = found["text"].as_str().unwrap().split_once("as root, run ").unwrap();
        let shell = Program::spawn_as(Account::current(), "/bin/bash", ["-c", command], &[]);
        assert!(shell.wait_exit(LIMIT).success(), "{command}");
    }),
    ..USUAL
};

const UNSAFE: Fault = Fault {
    id: "N44",
    name: "everybody may write to the directory",
    make: |night| {
        let everybody = Permissions::from_mode(0o777);
        fs::set_permissions(night.setup.files.path(), everybody).unwrap();
    },
    log: Some(("ERROR", "publication-failed")),
    word: Word::NotReady,
    target: &["published-set-newest"],
    check: Some(("failure", "directory-shared")),
    remedy: Remedy::Paste,
    ..USUAL
};

const CHANGED: Fault = Fault {
    id: "N45",
    name: "somebody has changed a published file",
    make: |night| {
        fs::remove_file(night.setup.files.join("svid.pem")).unwrap();
        night.setup.files.write("svid.pem", "mine", 0o644);
    },
    log: Some(("WARN", "files-changed")),
    ..USUAL
};

const KEY_MODE: Fault = Fault {
    id: "N46",
    name: "somebody has changed the mode of the key",
    make: |night| {
        let key = fs::canonicalize(night.setup.files.join("svid_key.pem")).unwrap();
        fs::set_permissions(key, Permissions::from_mode(0o644)).unwrap();
    },
    log: Some(("WARN", "files-changed")),
    ..USUAL
};

/// It writes without end; what it writes cannot be kept away, and PostgreSQL may read it.
const ANOTHER_HELPER: Fault = Fault {
    id: "N47",
    name: "another helper writes the same files",
    make: |night| {
        let files = night.setup.files.path().display();
        let copy = night.setup.other.write("copy.pem", night.setup.agent.svid().chain_pem(), 0o644);
        let script = format!(
            "while :; do cp {} {files}/new && mv -T {files}/new {files}/svid.pem; sleep 0.01; done",
            copy.display()
        );
        let account = Account::server();
        night.another = Some(Program::spawn_as(account, "/bin/bash", ["-c", &script], &[]));
    },
    log: Some(("WARN", "set-disturbed")),
    word: Word::NotReady,
    target: &["published-set-newest"],
    check: None,
    remedy: Remedy::Done(|night, _| {
        night.another = None;
        let _ = fs::remove_file(night.setup.files.join("new"));
    }),
    ..USUAL
};

/// The second ends at once; the first is not disturbed.
const TWO_INSTANCES: Fault = Fault {
    id: "N48",
    name: "another pgsvid publishes to the same directory",
    make: |night| {
        let another = night.setup.spawn();
        assert_eq!(another.wait_exit(LIMIT).code(), Some(1));
        night.renew();
    },
    log: Some(("INFO", "rotated")),
    ..USUAL
};

/// A small one, which ends with the namespace of the test.
fn on_a_volume(builder: SetupBuilder) -> SetupBuilder {
    let files = Directory::new();
    let (uid, gid) = (Account::server().uid(), Account::server().gid());
    let options = format!("size=128k,mode=0755,uid={uid},gid={gid}");
    std::mem::forget(Tmpfs::over(files.path(), &options));
    builder.files(files)
}

fn remount(night: &Night, how: &str) {
    let path = night.setup.files.path();
    let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(path).status();
    assert!(status.unwrap().success());
}

#[test]
fn n41_the_disk_is_full() {
    with_mounts(|| drop(walk(&FULL)));
}

#[test]
fn n42_the_directory_is_read_only() {
    with_mounts(|| drop(walk(&READ_ONLY)));
}

#[test]
fn n43_the_directory_is_gone() {
    walk(&GONE);
}

#[test]
fn n44_everybody_may_write_to_the_directory() {
    walk(&UNSAFE);
}

#[test]
fn n45_somebody_has_changed_a_published_file() {
    walk(&CHANGED);
}

#[test]
fn n46_somebody_has_changed_the_mode_of_the_key() {
    walk(&KEY_MODE);
}

#[test]
fn n47_another_helper_writes_the_same_files() {
    walk(&ANOTHER_HELPER);
}

#[test]
fn n48_another_pgsvid_publishes_to_the_same_directory() {
    walk(&TWO_INSTANCES);
}

/// It writes ten times a second, which leaves time to publish in between; what is published is not handed over as often.
#[test]
fn n58_a_helper_that_changes_the_files_without_end_makes_postgresql_reload_less_and_less_often() {
    let mut night = Night::begin(&ANOTHER_HELPER);
    let log = night.setup.cluster.log_mark();
    let files = night.setup.files.path().display().to_string();
    let copy = night.setup.other.write("copy.pem", night.setup.agent.svid().chain_pem(), 0o644);
    let script = format!(
        "for i in $(seq 100); do cp {} {files}/new && mv -T {files}/new {files}/svid.pem; sleep 0.1; done",
        copy.display()
    );
    let helper = Program::spawn_as(Account::server(), "/bin/bash", ["-c", &script], &[]);
    assert!(helper.wait_exit(LIMIT).success());
    let reloads = night.setup.cluster.log_since(log).matches("received SIGHUP").count();
    assert!(reloads <= 15, "{reloads} reloads for 100 changes");
    // It has ended, and all is well again by itself.
    night.another = None;
    eventually(LIMIT, "the set is there", || night.word() == Some(Word::Current));
}
