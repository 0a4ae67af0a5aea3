//! D13: killed at each system call of a publication, one after the other.
//!
//! strace sends SIGKILL as the thread that publishes enters a call, for the first, second, … call of each kind until a
//! run survives. After each kill PostgreSQL is started from what is on disk, and the next pgsvid repairs and verifies.

use std::cell::RefCell;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use dev_agent::{Stop, Svid};
use pgsvid::material::pem;
use test_support::{LIMIT, Mode, Pgsvid, Setup, Signal, Strace, eventually};

use crate::publication::place::{
    NAMES, PGSVID, contents, give, mode_of, names, read, set_mode, write,
};

/// The calls that a publication consists of; whatever else the thread does leaves no trace on disk.
const CALLS: [&str; 14] = [
    "newfstatat",
    "readlinkat",
    "mkdirat",
    "openat",
    "fchmod",
    "write",
    "fsync",
    "fstat",
    "read",
    "close",
    "symlinkat",
    "renameat",
    "getdents64",
    "unlinkat",
];
/// No publication has so many calls of one kind.
const MOST: u32 = 200;
/// The thread that waits for files to write stays for ten seconds; a busy machine may take longer to get there.
const TRIES: u32 = 20;

#[test]
fn d13_killed_at_each_call_of_a_first_publication_nothing_half_done_is_visible() {
    let setup = Setup::new(PGSVID);
    let kills = walk(&setup, |call, nth| {
        clear(&setup);
        setup.agent.stop(Stop::Terminate);
        let killed = strike(&setup, call, nth, |_| {}, || setup.agent.restart().unwrap());
        let svid = setup.agent.svid();
        for (name, content) in NAMES.into_iter().zip(contents(&svid)) {
            let path = setup.files.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                assert!(fs::read_to_string(&path).unwrap() == content, "{name} is half visible");
            }
        }
        // The next run completes it, and PostgreSQL starts for the first time.
        let pgsvid = setup.spawn();
        setup.wait_published();
        setup.cluster.start();
        repaired(&setup, &pgsvid);
        assert!(pgsvid.terminate(LIMIT).success());
        setup.cluster.stop(Mode::Immediate);
        killed
    });
    println!(
        "first publication: {kills} kills; after each the next run published, and PostgreSQL started"
    );
    // 63 where one thread does it all; calls of another thread are not counted.
    assert!(kills > 50, "{kills}");
}

#[test]
fn d13_killed_at_each_call_of_a_replacement_postgresql_starts() {
    let setup = Setup::new(PGSVID);
    // So that each rotation removes a generation, too.
    setup.configure(
        "[files]\nkeep_at_most = 2\n[files.service]\nfile = 'pg_service.conf'\nname = 'db'",
    );
    assert!(setup.start().terminate(LIMIT).success());
    let kills = walk(&setup, |call, nth| {
        let former = RefCell::default();
        let publish = || {
            former.replace(read(setup.files.path()));
            setup.agent.rotate().unwrap();
        };
        let killed = strike(&setup, call, nth, |pgsvid| repaired(&setup, pgsvid), publish);
        let former = former.into_inner();
        starts_from_one_of(&setup, &[former.clone(), contents(&setup.agent.svid())]);
        killed
    });
    println!("replacement, with a service file: {kills} kills; PostgreSQL started after each");
    assert!(kills > 60, "{kills}");
    repaired(&setup, &setup.spawn());
}

#[test]
fn d13_killed_at_each_call_of_a_takeover_postgresql_starts() {
    let setup = Setup::new(PGSVID);
    let former = contents(&setup.agent.svid());
    lay_plain_files(&setup, &former);
    setup.cluster.start();
    let kills = walk(&setup, |call, nth| {
        clear(&setup);
        lay_plain_files(&setup, &former);
        setup.agent.stop(Stop::Terminate);
        let killed = strike(&setup, call, nth, |_| {}, || setup.agent.restart().unwrap());
        starts_from_one_of(&setup, &[former.clone(), contents(&setup.agent.svid())]);
        let pgsvid = setup.spawn();
        repaired(&setup, &pgsvid);
        assert!(pgsvid.terminate(LIMIT).success());
        killed
    });
    println!(
        "take-over of plain files: {kills} kills; PostgreSQL started after each, the next run repaired the rest"
    );
    assert!(kills > 60, "{kills}");
}

#[test]
fn d13_killed_at_each_call_of_a_start_on_leftovers_postgresql_starts() {
    let setup = Setup::new(PGSVID);
    setup.configure("[files]\nkeep_at_most = 2");
    assert!(setup.start().terminate(LIMIT).success());
    let kills = walk(&setup, |call, nth| {
        let former = read(setup.files.path());
        setup.agent.rotate().unwrap();
        plant_leftovers(&setup);
        // From its very first call on: most of the first kills fall into the loading of libraries.
        let mut arguments = setup.arguments();
        arguments.insert(0, "run".to_owned());
        let fault = format!("{call}:signal=KILL:when={nth}");
        let (pgsvid, mut parent) = Strace::around_daemon(PGSVID, &arguments, &fault);
        let serial = serial(&setup.agent.svid());
        eventually(LIMIT, "it has published, or is killed", || {
            let published = |line: &String| line.contains("\"rotated\"") && line.contains(&serial);
            !pgsvid.is_running() || pgsvid.lines().iter().any(published)
        });
        // It may have been killed.
        let _ = parent.write_all(b"e");
        let status = pgsvid.wait_exit(LIMIT);
        starts_from_one_of(&setup, &[former.clone(), contents(&setup.agent.svid())]);
        if status.signal() != Some(9) {
            assert!(status.success(), "{status}");
            assert_eq!(names(setup.files.path(), "..tmp-"), [""; 0]);
            assert!(!setup.files.join(LEFTOVER).exists());
        }
        status.signal() == Some(9)
    });
    println!("start on leftovers: {kills} kills; PostgreSQL started after each");
    assert!(kills > 60, "{kills}");
}

/// Kills at the first, second, … call of each kind until one survives; returns how many kills there were.
fn walk(setup: &Setup, mut round: impl FnMut(&str, u32) -> bool) -> u32 {
    let mut kills = 0;
    for call in CALLS {
        let survived = (1..MOST).find(|&nth| !round(call, nth));
        let survived = survived.unwrap_or_else(|| panic!("{call} has no end"));
        kills += survived - 1;
    }
    // Whatever the kills have left is bounded: each run clears away what the one before has left under way.
    let entries = fs::read_dir(setup.files.path()).unwrap().count();
    assert!(entries < 40, "{entries} entries");
    kills
}

/// Starts pgsvid, waits until it is ready, and lets it publish under strace. Returns whether it was killed; if not, it
/// was told to end after its work was done.
fn strike(
    setup: &Setup,
    call: &str,
    nth: u32,
    ready: impl Fn(&Pgsvid),
    publish: impl Fn(),
) -> bool {
    for _ in 0..TRIES {
        let pgsvid = setup.spawn();
        ready(&pgsvid);
        eventually(LIMIT, "files were looked at", || {
            !pgsvid.process().threads_named("files").is_empty()
        });
        let threads = pgsvid.process().threads_named("files");
        let fault = format!("{call}:signal=KILL:when={nth}");
        let strace = Strace::attach_to_threads(&threads, &fault, "mkdirat");
        let mark = pgsvid.mark();
        // The parent sleeps: it would start another daemon, which would repair.
        let daemon = pgsvid.daemon();
        pgsvid.signal(Signal::STOP);
        publish();
        eventually(LIMIT, "it has published, or is killed", || {
            let published = |line: &String| {
                line.contains("\"message\":\"rotated\"") || line.contains("\"message\":\"published")
            };
            !daemon.is_running() || pgsvid.lines_after(mark).iter().any(published)
        });
        if !daemon.is_running() {
            return true;
        }
        // It ends only after it has swept.
        pgsvid.signal(Signal::TERM);
        pgsvid.signal(Signal::CONT);
        let status = pgsvid.wait_exit(LIMIT);
        if status.code() == Some(1) {
            return true;
        }
        assert!(status.success(), "{status}");
        if strace.has_seen("mkdirat(") {
            return false;
        }
        // Another thread has published. Once more.
    }
    panic!("the thread that publishes is never there");
}

/// The beginning of a serial number, as events have it.
fn serial(svid: &Svid) -> String {
    svid.serial[..3].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Waits until the newest SVID is served.
#[track_caller]
fn repaired(setup: &Setup, pgsvid: &Pgsvid) {
    let serial = serial(&setup.agent.svid());
    let event = pgsvid.wait_for_event(Duration::from_secs(60), |event| {
        event["event"] == "rotated" && event["serial"] == serial.as_str()
    });
    assert_eq!(event["verdict"], "current", "{event}");
}

/// What is on disk is one of these sets, whole; PostgreSQL starts from it, and serves it.
#[track_caller]
fn starts_from_one_of(setup: &Setup, sets: &[[String; 3]; 2]) {
    let found = read(setup.files.path());
    assert!(sets.contains(&found), "the set on disk is another one, or a mixed one");
    assert_eq!(mode_of(&setup.files.join("svid_key.pem")), 0o600);
    setup.cluster.stop(Mode::Immediate);
    setup.cluster.start();
    let leaf = pem::decode_certificates(found[0].as_bytes()).unwrap().swap_remove(0);
    assert!(setup.cluster.served().leaf == leaf.der(), "another leaf is served");
}

/// A generation that was never completed, or never wholly removed.
const LEFTOVER: &str = "..v20200101T000000000Z-00000000";

/// What a killed run may leave.
fn plant_leftovers(setup: &Setup) {
    let unfinished = setup.files.join(LEFTOVER);
    let link = setup.files.join("..tmp-00000000");
    if !unfinished.exists() {
        fs::create_dir(&unfinished).unwrap();
        write(&unfinished.join("svid.pem"), "half");
        set_mode(&unfinished, 0o700);
        give(&unfinished.join("svid.pem"));
        give(&unfinished);
    }
    if fs::symlink_metadata(&link).is_err() {
        symlink(LEFTOVER, &link).unwrap();
        give(&link);
    }
}

/// Another helper's files.
fn lay_plain_files(setup: &Setup, set: &[String; 3]) {
    for ((name, content), mode) in NAMES.into_iter().zip(set).zip([0o644, 0o600, 0o644]) {
        let path = setup.files.join(name);
        write(&path, content);
        set_mode(&path, mode);
        give(&path);
    }
}

fn clear(setup: &Setup) {
    for entry in fs::read_dir(setup.files.path()).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
}
