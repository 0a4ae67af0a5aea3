//! A34: `pg_hba.conf` cannot be replaced by a new file. Setup finds that out before it changes anything.

use std::os::unix::fs::chown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use test_support::{Account, with_mounts};

use crate::setup::{Setup, bare, configure, publish, run, state};

fn names(setup: &Setup) -> Vec<std::ffi::OsString> {
    let listing = std::fs::read_dir(setup.cluster.data_directory()).unwrap();
    let mut names: Vec<_> = listing.map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    names
}

/// What the plan says, what an apply says, and that neither leaves anything behind.
#[track_caller]
fn is_reported(setup: &Setup, reason: &str) {
    let (before, listed) = (state(setup), names(setup));
    let plan = run(setup, &["apply", "--hba", "--dry-run"]).well();
    assert!(plan.contains(reason), "{plan}");
    assert_eq!(names(setup), listed);
    run(setup, &["apply", "--hba", "--yes"]).badly("not all of it can be done here");
    let after = state(setup);
    assert_eq!(after[0], before[0]);
    assert!(!names(setup).iter().any(|name| {
        let name = name.to_string_lossy();
        name.contains("pg_hba.conf.") || name.contains(".new-")
    }));
    run(setup, &["revert", "--yes"]).well();
}

#[test]
fn a34_a_group_that_a_new_file_cannot_have_is_known_before_anything_is_changed() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let other = Account::third().expect("the tests run as root");
    chown(setup.cluster.data_directory().join("pg_hba.conf"), None, Some(other.gid())).unwrap();
    is_reported(&setup, "it cannot be replaced: cannot set the group");
}

#[test]
fn a34_a_file_that_is_a_mount_is_known_before_anything_is_changed() {
    with_mounts(|| {
        let setup = bare();
        configure(&setup, "", "");
        publish(&setup);
        setup.cluster.start();
        let file = setup.cluster.data_directory().join("pg_hba.conf");
        mount_bind(&file, &file).unwrap();
        is_reported(&setup, "it cannot be replaced: it is a mount of its own");
        unmount(&file, UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a34_an_immutable_file_is_known_before_anything_is_changed() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    let file = setup.cluster.data_directory().join("pg_hba.conf");
    let chattr = |flag| Command::new("chattr").arg(flag).arg(&file).status().unwrap().success();
    // Not every file system has the flag.
    if chattr("+i") {
        let told = catch_unwind(AssertUnwindSafe(|| {
            is_reported(&setup, "it cannot be replaced: it is immutable");
        }));
        assert!(chattr("-i"));
        told.unwrap();
    }
}
