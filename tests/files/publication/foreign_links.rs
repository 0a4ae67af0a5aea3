//! A08: links at our names that another user may redirect at any time.

use std::fs;
use std::path::Path;
use std::process::Command;

use pgsvid::material::Expectations;
use pgsvid::publish::{Error, examine};
use pgsvid::timing;
use test_support::{Account, LIMIT, Mark, Setup, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacks, forged, give_to, link, owner, plant_generation};
use crate::publication::place::{
    Library, NAMES, PGSVID, Place, assert_published, contents, published, read, said, set_mode,
};
use crate::publication::planted::ask;

#[test]
fn a08_another_users_links_are_replaced_by_our_own_at_start() {
    for mode in [0o755, 0o1777] {
        let place = Place::new();
        for name in NAMES {
            link(&place.svids, name, &format!("..data/{name}"));
        }
        set_mode(&place.svids, mode);
        let pgsvid = place.run();
        published(&pgsvid, 1);
        assert_published(&place.svids, &place.agent.svid());
        for name in NAMES {
            assert_eq!(owner(&place.svids.join(name)), Account::server().uid(), "{name}");
        }
        set_mode(&place.svids, 0o1777);
        // So the other user cannot redirect it.
        attacks(
            "ln -s /elsewhere \"$1/x\"; ! mv -T \"$1/x\" \"$1/svid_bundle.pem\"",
            &[&place.svids],
        );
    }
}

#[test]
fn a08_in_a_sticky_directory_of_roots_another_users_link_is_refused_with_the_command() {
    let place = Place::new();
    give_to(Account::current(), &place.svids);
    set_mode(&place.svids, 0o1777);
    attacks("ln -s ..data/svid_bundle.pem \"$1/svid_bundle.pem\"", &[&place.svids]);
    let error = place.refused();
    let bundle = place.svids.join("svid_bundle.pem");
    assert!(error.contains(&bundle.display().to_string()), "{error}");
    let (_, command) = error.lines().last().unwrap().rsplit_once("as root, run ").unwrap();
    assert!(Command::new("/bin/sh").args(["-c", command]).status().unwrap().success());
    assert!(fs::symlink_metadata(bundle).is_err(), "the command is not the right one: {command}");
    published(&place.run(), 1);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn a08_examine_reports_a_link_that_belongs_to_another_user() {
    let library = Library::new();
    library.publish(&mut library.open());
    let look = || {
        let expectations = Expectations::default();
        examine(&library.settings, &expectations, timing::now()).unwrap()
    };
    assert!(look().obstacle.is_none() && look().missing_links.is_empty());
    for name in ["svid_bundle.pem", "..data"] {
        let path = library.path().join(name);
        let target = fs::read_link(&path).unwrap().display().to_string();
        link(library.path(), name, &target);
        let Some(Error::NotOurs(found)) = look().obstacle else { panic!("{name} is not seen") };
        assert_eq!(found.path, path);
        give_to(Account::current(), &path);
    }
    assert!(look().obstacle.is_none());
}

#[test]
fn a08_a_link_that_is_exchanged_at_run_time_is_ours_again() {
    with_mounts(|| {
        let place = Place::new();
        let _volume = Tmpfs::over(&place.svids, "size=1m,mode=0777");
        let pgsvid = place.run();
        published(&pgsvid, 1);
        let forged = forged();
        let generation = plant_generation(&place.svids, &forged);
        let evil = place.other.write("evil.pem", forged.bundle_pem(), 0o644);
        let mut mark = pgsvid.mark();
        let turn = "ln -s \"$2\" \"$1/x\"; mv -T \"$1/x\" \"$1/$3\"";
        let generation = Path::new(generation.file_name().unwrap());
        // The same target at first: it is the owner that counts.
        for (name, target) in [
            ("svid_bundle.pem", Path::new("..data/svid_bundle.pem")),
            ("svid_bundle.pem", evil.as_path()),
            ("..data", generation),
        ] {
            attacks(turn, &[&place.svids, target, Path::new(name)]);
            mark = said(&pgsvid, mark, "published").1;
            assert_published(&place.svids, &place.agent.svid());
            assert_eq!(owner(&place.svids.join(name)), Account::server().uid(), "{name}");
        }
    });
}

#[test]
fn a08_a_link_that_cannot_be_restored_takes_readiness_until_the_command_was_run() {
    let setup = Setup::new(PGSVID);
    let socket = setup.other.join("status.sock");
    setup.configure(&format!("[health]\nlisten = 'unix:{}'", socket.display()));
    give_to(Account::current(), setup.files.path());
    set_mode(setup.files.path(), 0o1777);
    let pgsvid = setup.start();
    assert_eq!(ask(&socket).0, 200);
    let log = setup.cluster.log_mark();
    let evil = setup.other.write("evil.pem", forged().bundle_pem(), 0o644);
    // As one who owns the directory may at any time.
    link(setup.files.path(), "svid_bundle.pem", &evil.display().to_string());
    eventually(LIMIT, "it is not ready", || ask(&socket).0 == 503);
    let (alarm, mark) = said(&pgsvid, Mark::default(), "publication-failed");
    let error = alarm["error"].as_str().unwrap();
    let (_, command) = error.rsplit_once("as root, run ").unwrap();
    let bundle = setup.files.join("svid_bundle.pem");
    assert_eq!(command, format!("rm -r {}", bundle.display()));
    assert!(ask(&socket).1.contains(command));
    // PostgreSQL is not told to read that.
    let before = pgsvid.mark();
    setup.agent.rotate().unwrap();
    said(&pgsvid, before, "identity-received");
    assert_eq!(ask(&socket).0, 503);
    assert!(!setup.cluster.log_since(log).contains("received SIGHUP"));

    assert!(Command::new("/bin/sh").args(["-c", command]).status().unwrap().success());
    said(&pgsvid, mark, "rotated");
    eventually(LIMIT, "it is ready again", || ask(&socket).0 == 200);
    // The set of before may come first.
    let newest = contents(&setup.agent.svid());
    eventually(LIMIT, "the newest set is published", || read(setup.files.path()) == newest);
    assert_published(setup.files.path(), &setup.agent.svid());
    assert_eq!(owner(&bundle), Account::server().uid());
}
