//! A24, B29: another user holds the lock of the directory, or of a file that looks like it, or the file system has no locks.

use std::fs;
use std::time::Duration;

use dev_agent::Entry;
use rustix::fs::FlockOperation;
use test_support::{LIMIT, Program, Strace, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacker, attacks};
use crate::publication::place::{
    ID, Library, PGSVID, Place, assert_published, material, mode_of, published, set_mode,
};

/// Opens every file that the other user may open in the directory, and holds its lock until the end.
const HOLD: &str =
    "cd \"$1\"; exec 8<.; flock -n 8; test ! -e ..lock || ! cat ..lock; echo held; exec sleep 1000";

#[test]
fn a24_who_may_only_read_the_directory_keeps_nobody_from_publishing() {
    let place = Place::new();
    for generation in 1..=2 {
        let arguments = ["-ec", HOLD, "sh", &place.svids.display().to_string()].map(str::to_owned);
        let holder = Program::spawn_as(&attacker(), "/bin/sh", arguments, &[]);
        eventually(LIMIT, "the other user holds it", || holder.standard_output().contains("held"));
        let pgsvid = place.run();
        if generation == 1 {
            published(&pgsvid, 1);
        } else {
            pgsvid.wait_for_text(LIMIT, "the set of an earlier run is still valid");
        }
        assert_published(&place.svids, &place.agent.svid());
        assert_eq!(mode_of(&place.svids.join("..lock")), 0o600);
        assert!(place.refused().contains("is in use by another pgsvid"));
        assert!(pgsvid.terminate(LIMIT).success());
    }
}

#[test]
fn a24_what_is_planted_at_the_locks_name_is_removed_and_what_is_removed_is_made_again() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
        let lock = library.path().join("..lock");
        for plant in ["touch \"$1/..lock\"", "ln -s svid.pem \"$1/..lock\"", "mkfifo \"$1/..lock\""]
        {
            attacks(plant, &[library.path()]);
            let mut publisher = library.open();
            assert!(library.refused().contains("is in use"), "{plant}");
            attacks("rm -f \"$1/..lock\"; ln -s x \"$1/..lock\"", &[library.path()]);
            library.publish(&mut publisher);
            assert!(library.refused().contains("is in use"), "{plant}");
            assert!(fs::symlink_metadata(&lock).unwrap().is_file());
            drop(publisher);
            fs::remove_file(&lock).unwrap();
        }
    });
}

#[test]
fn a24_a_lock_that_a_volumes_group_may_open_is_closed_to_it() {
    let library = Library::new();
    drop(library.open());
    set_mode(&library.path().join("..lock"), 0o660);
    let _publisher = library.open();
    assert_eq!(mode_of(&library.path().join("..lock")), 0o600);
}

#[test]
fn a24_fetch_does_not_take_an_old_set_for_good_because_somebody_holds_the_directory() {
    let place = Place::new();
    place.agent.remove_entries();
    place.agent.add_entry(Entry::new(ID).dns("localhost").ttl(Duration::from_secs(12))).unwrap();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    drop(pgsvid);
    let lock = fs::File::open(place.svids.join("..lock")).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    let set = material(&place.agent.svid());
    let life = set.not_after().duration_since(set.leaf().not_before()).unwrap();
    eventually(LIMIT, "half of its life is over", || {
        pgsvid::timing::now() > set.leaf().not_before() + life / 2
    });
    let mut arguments = place.arguments();
    "fetch".clone_into(&mut arguments[0]);
    arguments.extend(["--timeout".to_owned(), "1s".to_owned()]);
    let fetch = Program::spawn(PGSVID, arguments, &[]);
    assert_eq!(fetch.wait_exit(LIMIT).code(), Some(1), "{}", fetch.standard_output());
}

/// Opens a file that the other user may read, locks it, gives it the lock's name if it has another one, and holds it.
const TAKE: &str = "cd \"$1\"; exec 8<\"$2\"; flock -n 8; test \"$2\" = ..lock || mv -T \"$2\" ..lock; echo held; exec sleep 1000";

#[test]
fn a47_a_lock_that_others_could_have_opened_keeps_nobody_from_publishing() {
    with_mounts(|| {
        for (name, mode) in [("notes", 0o644), ("empty", 0o644), ("..lock", 0o664)] {
            let library = Library::new();
            let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
            drop(library.open());
            let path = library.path().join(name);
            let content = if name == "notes" { "of somebody else's" } else { "" };
            crate::publication::place::write(&path, content);
            // As the volume's group may, where Kubernetes has given the volume to it.
            set_mode(&path, mode);
            let arguments = ["-ec", TAKE, "sh", &library.path().display().to_string(), name];
            let holder = Program::spawn_as(&attacker(), "/bin/sh", arguments, &[]);
            eventually(LIMIT, "it is held", || holder.standard_output().contains("held"));
            let mut publisher = library.open();
            let (svid, _) = library.publish(&mut publisher);
            assert_published(library.path(), &svid);
            assert_eq!(mode_of(&library.path().join("..lock")), 0o600);
            assert!(library.refused().contains("is in use by another pgsvid"), "{name}");
            // What is no lock of ours is not lost.
            let left = crate::publication::place::names(library.path(), "..removed-");
            let left: Vec<_> = left.iter().map(|name| library.path().join(name)).collect();
            let left: String = left.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
            assert_eq!(left, content);
        }
    });
}

#[test]
fn a47_a_lock_that_a_backup_has_linked_is_still_respected() {
    let library = Library::new();
    let _publisher = library.open();
    let backup = tempfile::tempdir_in(library.path().parent().unwrap()).unwrap();
    fs::hard_link(library.path().join("..lock"), backup.path().join("..lock")).unwrap();
    assert!(library.refused().contains("is in use by another pgsvid"));
}

/// Network file systems do so: NFS without its lock daemon, FUSE, Lustre, 9p.
#[test]
fn b29_a_file_system_without_locks_is_named_with_what_could_be_lost() {
    for error in ["ENOLCK", "ENOSYS", "EOPNOTSUPP"] {
        let place = Place::new();
        let pgsvid = Strace::quietly(PGSVID, &place.arguments(), &format!("flock:error={error}"));
        assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1), "{error}");
        let said = pgsvid.standard_error();
        let last = said.lines().last().unwrap();
        assert!(last.contains("its file system has no locks"), "{error}: {said}");
        assert!(last.contains("publish to a file system of this machine"), "{error}: {said}");
    }
}

/// NFS locks no file that is open for reading, and the directory for this machine alone.
#[test]
fn b29_a_lock_that_other_machines_do_not_see_is_reported() {
    let place = Place::new();
    let run = || Strace::quietly(PGSVID, &place.arguments(), "flock:error=EBADF:when=1");
    let pgsvid = run();
    let event = pgsvid.wait_for_event(LIMIT, |event| event["event"] == "lock-of-this-machine");
    assert_eq!(event["level"], "WARN", "{event}");
    published(&pgsvid, 1);
    assert_published(&place.svids, &place.agent.svid());
    let second = run();
    assert_eq!(second.wait_exit(LIMIT).code(), Some(1));
    assert!(second.standard_error().contains("is in use by another pgsvid"), "here it is locked");
}
