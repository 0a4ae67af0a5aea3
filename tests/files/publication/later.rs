//! A74: changes of the directory and of its lock after the start.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

use rustix::fs::XattrFlags;
use test_support::{Account, LIMIT, Mark, Program, Signal};

use crate::publication::attacker::{attacker, give_to};
use crate::publication::place::{
    PGSVID, Place, assert_published, mode_of, names, published, said, set_mode, write,
};
use crate::publication::private::default_acl;

const DEFAULT_ACL: &str = "system.posix_acl_default";

#[test]
fn a74_a_list_that_comes_after_the_start_gives_nobody_the_next_key() {
    let place = Place::new();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    rustix::fs::setxattr(&place.svids, DEFAULT_ACL, &default_acl(), XattrFlags::empty()).unwrap();
    let (told, _) = said(&pgsvid, Mark::default(), "publication-failed");
    let told = told["error"].as_str().unwrap();
    assert!(told.ends_with(&format!("run setfacl -k {}", place.svids.display())), "{told}");
    assert_eq!(names(&place.svids, "..v").len(), 1);
    // What the command does.
    rustix::fs::removexattr(&place.svids, DEFAULT_ACL).unwrap();
    published(&pgsvid, 2);
    assert_eq!(mode_of(&place.svids.join("svid_key.pem")), 0o600);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn a74_a_group_that_comes_after_the_start_does_not_read_the_next_key() {
    let mut place = Place::new();
    // Nobody else's directory may be above root's.
    let root = tempfile::tempdir().unwrap();
    place.svids = root.path().join("svids");
    fs::create_dir(&place.svids).unwrap();
    let (ours, theirs) = (Account::server().gid(), attacker().gid());
    let configuration = format!("[files]\nprivate_key_mode = '0640'\ngroup = '{ours}'");
    let file = place.other.write("pgsvid.toml", configuration, 0o644).display().to_string();
    let arguments = [place.arguments(), vec!["--config".to_owned(), file]].concat();
    let run = || Program::spawn_as(Account::current(), PGSVID, arguments.clone(), &[]);
    let pgsvid = run();
    published(&pgsvid, 1);
    chown(&place.svids, None, Some(theirs)).unwrap();
    set_mode(&place.svids, 0o2755);
    place.agent.rotate().unwrap();
    let (told, _) = said(&pgsvid, Mark::default(), "publication-failed");
    assert!(told["error"].as_str().unwrap().contains("Restart pgsvid"), "{told}");
    assert_eq!(fs::metadata(place.svids.join("svid_key.pem")).unwrap().gid(), ours);
    // As it says.
    assert!(pgsvid.terminate(LIMIT).success());
    published(&run(), 1);
    assert_eq!(fs::metadata(place.svids.join("svid_key.pem")).unwrap().gid(), ours);
}

#[test]
fn a74_a_lock_that_is_lost_is_reported_and_taken_again_at_once() {
    let place = Place::new();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    let lock = place.svids.join("..lock");
    let mut mark = Mark::default();
    let losses: [&dyn Fn(); 3] =
        [&|| fs::remove_file(&lock).unwrap(), &|| set_mode(&lock, 0o660), &|| {
            fs::remove_file(&lock).unwrap();
            write(&lock, "");
            give_to(&attacker(), &lock);
        }];
    for lose in losses {
        lose();
        mark = said(&pgsvid, mark, "lock-lost").1;
        assert_eq!(mode_of(&lock), 0o600);
        assert!(place.refused().contains("is in use by another pgsvid"));
    }
}

#[test]
fn a74_another_pgsvid_that_has_got_the_lock_is_reported() {
    let place = Place::new();
    let first = place.run();
    published(&first, 1);
    let daemon = first.daemon();
    daemon.signal(Signal::STOP);
    fs::remove_file(place.svids.join("..lock")).unwrap();
    let second = place.run();
    second.wait_for_event(LIMIT, |event| event["event"] == "set-adopted");
    daemon.signal(Signal::CONT);
    let (told, _) = said(&first, Mark::default(), "publication-failed");
    assert!(told["error"].as_str().unwrap().contains("is in use by another pgsvid"), "{told}");
    assert_eq!(names(&place.svids, "..v").len(), 1, "it leaves the other's set alone");
}
