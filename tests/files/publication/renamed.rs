//! A25, A26: where others may write, a user puts something else at one of pgsvid's names, or gives one of pgsvid's names to
//! something else. A27, A28: what looks like an attack, but is none.

use std::fs;
use std::path::Path;

use pgsvid::material::Expectations;
use pgsvid::timing;
use test_support::{LIMIT, Tmpfs, with_mounts};

use crate::publication::attacker::attacks;
use crate::publication::place::{
    Library, NAMES, Place, assert_published, contents, current, give, material, names, published,
    read, said, set_mode, write,
};

/// What the attacker does in the directory.
const OBSTACLES: [&str; 11] = [
    "rm -f svid.pem; mkfifo svid.pem",
    "rm -f svid_key.pem; mkdir svid_key.pem; touch svid_key.pem/x",
    "rm -f svid_bundle.pem; mkdir svid_bundle.pem",
    "rm -f ..data; mkfifo ..data",
    "rm -f ..data; mkdir ..data",
    "rm -f ..data; mkdir ..data; touch ..data/svid.pem",
    "mv -T svid.pem svid_key.pem",
    "mv -T ..data svid.pem",
    "mv -T ..lock ..data",
    "set=$(readlink ..data); rm -f ..data; mv -T $set ..data",
    "rm -f svid.pem; mv -T $(readlink ..data) svid.pem",
];

#[test]
fn a25_nothing_that_is_put_at_our_names_stops_publication_in_a_mount_for_everybody() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        for obstacle in OBSTACLES {
            let mut publisher = library.open();
            library.publish(&mut publisher);
            attacks(&format!("cd \"$1\"; {obstacle}"), &[library.path()]);
            assert!(!publisher.is_intact(), "{obstacle}");
            let (svid, _) = library.publish(&mut publisher);
            assert_published(library.path(), &svid);
            // At start, too.
            attacks(&format!("cd \"$1\"; {obstacle}"), &[library.path()]);
            drop(publisher);
            let (svid, generation) = library.publish(&mut library.open());
            assert_published(library.path(), &svid);
            for name in names(library.path(), "..v") {
                if name != generation {
                    fs::remove_dir_all(library.path().join(name)).unwrap();
                }
            }
        }
    });
}

#[test]
fn a26_a_private_directory_that_others_rename_to_a_generations_name_keeps_its_files_and_mode() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        let mut publisher = library.open();
        for (mode, name) in
            [(0o700, "..v20200101T000000000Z-00000001"), (0o755, "..v2020"), (0o700, "svid.pem")]
        {
            library.publish(&mut publisher);
            let private = library.path().join("pgdata");
            fs::create_dir(&private).unwrap();
            write(&private.join("PG_VERSION"), "15");
            write(&private.join("svid.pem"), "of its own");
            set_mode(&private, mode);
            attacks(
                "cd \"$1\"; rm -f \"$2\"; mv pgdata \"$2\"",
                &[library.path(), Path::new(name)],
            );
            drop(publisher);
            publisher = library.open();
            library.publish(&mut publisher);
            publisher.sweep(timing::now() + std::time::Duration::from_secs(3600));
            let prefix = if name == "svid.pem" { "..removed-" } else { name };
            let left = library.path().join(&names(library.path(), prefix)[0]);
            assert_eq!(names(&left, ""), ["PG_VERSION", "svid.pem"]);
            assert_eq!(crate::publication::place::mode_of(&left), mode);
            fs::remove_dir_all(left).unwrap();
        }
    });
}

#[test]
fn a26_the_directory_of_a_clients_set_that_is_renamed_to_ours_is_not_emptied() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        for name in ["..data", "svid.pem"] {
            let mut publisher = library.open();
            library.publish(&mut publisher);
            let client = library.path().join("client");
            fs::create_dir(&client).unwrap();
            for name in NAMES {
                write(&client.join(name), "a client's");
            }
            attacks(
                "cd \"$1\"; rm -f \"$2\"; mv -T client \"$2\"",
                &[library.path(), Path::new(name)],
            );
            let (svid, _) = library.publish(&mut publisher);
            assert_published(library.path(), &svid);
            let left = library.path().join(&names(library.path(), "..removed-")[0]);
            for name in NAMES {
                assert_eq!(fs::read_to_string(left.join(name)).unwrap(), "a client's");
            }
            fs::remove_dir_all(left).unwrap();
        }
    });
}

#[test]
fn a27_a_set_that_a_backup_has_linked_is_still_ours() {
    let library = Library::new();
    let (svid, _) = library.publish(&mut library.open());
    let backup = tempfile::tempdir_in(library.path().parent().unwrap()).unwrap();
    for name in NAMES {
        fs::hard_link(
            library.path().join(current(library.path())).join(name),
            backup.path().join(name),
        )
        .unwrap();
    }
    let mut publisher = library.open();
    let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
    assert!(found.is_some_and(|found| found.publishes_as(&material(&svid))));
    assert!(publisher.take_disowned().is_empty() && publisher.is_intact());
}

#[test]
fn a28_a_way_that_cannot_be_looked_at_for_a_while_does_not_end_the_daemon() {
    let mut place = Place::new();
    let above = place.other.subdirectory("above");
    place.svids = above.join("svids");
    fs::create_dir(&place.svids).unwrap();
    give(&place.svids);
    let pgsvid = place.run();
    published(&pgsvid, 1);
    let mark = pgsvid.mark();
    set_mode(&above, 0o000);
    place.agent.rotate().unwrap();
    let (alarm, mark) = said(&pgsvid, mark, "publication-failed");
    assert!(alarm["error"].as_str().unwrap().contains("Permission denied"), "{alarm}");
    set_mode(&above, 0o755);
    // What was tried first may have been the set before.
    let newest = contents(&place.agent.svid());
    pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        event["event"] == "published" && read(&place.svids) == newest
    });
    assert_published(&place.svids, &place.agent.svid());
}
