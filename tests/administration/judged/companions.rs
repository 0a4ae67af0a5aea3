//! The files that pgsvid publishes beside certificate, key and bundle.

use std::os::unix::fs::PermissionsExt as _;

use test_support::Setup;

use crate::judged::{PGSVID, check, found, one, start};

#[test]
fn b143_a_companion_that_is_gone_or_changed_is_a_failure() {
    let setup = Setup::builder(PGSVID).create();
    setup.configure(
        "[files]\nident = 'map.conf'\npgbouncer = 'pgbouncer.ini'\n[[files.extra]]\nname = 'all.pem'\ncontent = 'combined'\n\
         [[files.extra]]\nname = 'key.der'\ncontent = 'der-key'\n",
    );
    start(&setup);
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "published-set").is_empty(), "{report:#}");
    let at = |name: &str| setup.files.join("..data").join(name);
    std::fs::remove_file(at("map.conf")).unwrap();
    std::fs::remove_file(at("key.der")).unwrap();
    let text = std::fs::read_to_string(at("pgbouncer.ini")).unwrap();
    let mut changed = std::fs::File::create(at("pgbouncer.ini")).unwrap();
    std::io::Write::write_all(&mut changed, format!("{text}junk\n").as_bytes()).unwrap();
    let report = check(&setup, &[]);
    let told = one(&report, "failure", "published-set")["text"].as_str().unwrap().to_owned();
    for part in ["map.conf (missing)", "key.der (missing)", "pgbouncer.ini (changed)"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("all.pem"), "{told}");
    // What the remedy says.
    start_again(&setup);
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "published-set").is_empty(), "{report:#}");
}

/// Only the renewal would have shown it, half of the certificate's life later.
#[test]
fn b148_a_directory_that_cannot_be_written_to_is_reported_before_the_renewal() {
    if test_support::Account::server().uid() == 0 {
        return;
    }
    let setup = Setup::builder(PGSVID).create();
    start(&setup);
    let set_mode = |mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(setup.files.path(), mode).unwrap();
    };
    set_mode(0o555);
    one(&check(&setup, &[]), "failure", "directory-unusable");
    let pgsvid = setup.spawn();
    let told = pgsvid.event("publication-failed");
    assert_eq!(told["level"], "ERROR", "{told}");
    set_mode(0o755);
    pgsvid.event("rotated");
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "directory-unusable").is_empty(), "{report:#}");
}

/// A password in a service file that every user could read.
#[test]
fn b149_a_service_file_with_a_secret_has_the_mode_of_the_key() {
    let setup = Setup::builder(PGSVID).create();
    setup.configure(
        "[[files.service]]\nname = 'a'\nfile = 'a.conf'\noptions = { host = 'db', password = 'hunter2' }\n\
         [[files.service]]\nname = 'b'\nfile = 'b.conf'\noptions = { host = 'db' }\n",
    );
    start(&setup);
    let mode = |name: &str| {
        let found = std::fs::metadata(setup.files.join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode("a.conf"), mode("svid_key.pem"));
    assert_eq!(mode("b.conf"), mode("svid.pem"));
    assert_ne!(mode("a.conf"), mode("b.conf"));
}

/// The directory itself is right: the remedy names what is closed.
#[test]
fn b153_a_closed_directory_above_the_published_one_is_named() {
    if !rustix::process::geteuid().is_root() || test_support::Account::server().uid() == 0 {
        return;
    }
    let setup = Setup::builder(PGSVID).create();
    start(&setup);
    let closed = test_support::Directory::new();
    let place = closed.subdirectory("published");
    std::os::unix::fs::chown(closed.path(), Some(0), Some(0)).unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let place = place.display().to_string();
    let arguments = ["--directory", place.as_str()];
    let report = check(&setup, &arguments);
    let fix = one(&report, "failure", "directory-missing")["fix"].as_str().unwrap().to_owned();
    assert!(fix.ends_with(&format!("chmod a+x {}", closed.path().display())), "{fix}");
}

fn start_again(setup: &Setup) {
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    assert!(pgsvid.terminate(test_support::LIMIT).success());
}
