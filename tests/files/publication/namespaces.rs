//! A39: in a user namespace without the machine's root, root and all other users without an ID there look the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{Mode, chmod};
use test_support::{Account, Program};

use crate::publication::attacker::{attacker, give_to};
use crate::publication::place::{PGSVID, Place, assert_published, set_mode};

/// A user whose number is in no such namespace.
fn stranger() -> Account {
    Account::nameless()
}

/// Publishes once as the root of a user namespace of its own, which has no other user.
fn fetch(place: &Place, directory: &Path) -> Output {
    let account = attacker();
    Command::new("setpriv")
        .args(["--reuid", &account.uid().to_string(), "--regid", &account.gid().to_string()])
        .args(["--clear-groups", "unshare", "--user", "--map-root-user"])
        .arg(Program::reachable(PGSVID))
        .args(["fetch", "--timeout", "20s", "--endpoint", &place.agent.endpoint(), "--directory"])
        .arg(directory)
        .current_dir("/")
        .output()
        .unwrap()
}

/// A directory of that user's within another.
fn directory(within: &Path, name: &str, owner: &Account) -> PathBuf {
    let path = within.join(name);
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o755);
    give_to(owner, &path);
    path
}

#[test]
fn a39_a_user_without_a_number_in_the_namespace_is_root_only_where_nobody_else_could_be() {
    let place = Place::new();
    // In `/` itself: all that is above belongs to the machine's root.
    let roots = tempfile::Builder::new().prefix("pgsvid-").tempdir_in("/").unwrap();
    set_mode(roots.path(), 0o755);
    let root = Account::current();
    let parent = directory(roots.path(), "parent", root);
    let svids = directory(&parent, "svids", &attacker());
    let fetched = fetch(&place, &svids);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert_published(&svids, &place.agent.svid());

    // In a directory where others may make some, and in one of ours, it may be anybody.
    let shared = directory(roots.path(), "shared", root);
    chmod(&shared, Mode::from_raw_mode(0o1777)).unwrap();
    let own = directory(roots.path(), "own", &attacker());
    for within in [shared, own] {
        let foreign = directory(&within, "foreign", &stranger());
        let svids = directory(&foreign, "svids", &attacker());
        let fetched = fetch(&place, &svids);
        let error = String::from_utf8_lossy(&fetched.stderr).into_owned();
        assert_eq!(fetched.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("because {} belongs to", foreign.display())), "{error}");
        assert_eq!(fs::read_dir(&svids).unwrap().count(), 0);
    }
    // Nor is a directory that belongs to nobody one of ours.
    let nobodys = directory(&parent, "nobodys", &stranger());
    set_mode(&nobodys, 0o755);
    let fetched = fetch(&place, &nobodys);
    let error = String::from_utf8_lossy(&fetched.stderr).into_owned();
    assert!(error.contains("it belongs to uid 65534, and pgsvid runs as uid 0"), "{error}");
}
