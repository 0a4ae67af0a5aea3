//! D08: pgsvid takes over plain files of an earlier helper, and PostgreSQL can start at every instant.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dev_agent::Svid;
use test_support::{LIMIT, Mark, with_mounts};

use crate::publication::place::{
    Done, Library, NAMES, Place, assert_published, contents, give, material, names, published,
    read, said, set_mode, write,
};

#[test]
fn d08_plain_files_are_taken_over() {
    let place = Place::new();
    let former = place.agent.svid();
    place.agent.rotate().unwrap();
    write_plain(&place.svids, &former);
    give_all(&place);
    let pgsvid = place.run();
    published(&pgsvid, 1);
    assert_published(&place.svids, &place.agent.svid());
    let mut mark = Mark::default();
    let mut taken = Vec::new();
    for _ in NAMES {
        let (event, next) = said(&pgsvid, mark, "file-taken-over");
        taken.push(event["file"].as_str().unwrap().to_owned());
        mark = next;
    }
    taken.sort_unstable();
    assert_eq!(taken, ["svid.pem", "svid_bundle.pem", "svid_key.pem"]);
}

#[test]
fn d08_during_a_takeover_the_set_is_whole_at_every_instant() {
    with_mounts(|| {
        for round in 0..150 {
            let library = Library::new();
            let _volume = library.in_memory();
            let former = library.issue();
            write_plain(library.path(), &former);
            if round % 2 == 1 {
                kill_half_way(&library, &former, round % 4 == 3);
            }
            publish_under_observation(&library, &former);
        }
    });
}

/// What a takeover leaves that is killed after its swap, and perhaps after its first link.
fn kill_half_way(library: &Library, former: &Svid, linked: bool) {
    let generation = library.path().join("..v20261123T200000000Z-00000001");
    fs::create_dir(&generation).unwrap();
    write_plain(&generation, former);
    set_mode(&generation, 0o755);
    symlink(generation.file_name().unwrap(), library.path().join("..data")).unwrap();
    if linked {
        fs::remove_file(library.path().join("svid.pem")).unwrap();
        symlink("..data/svid.pem", library.path().join("svid.pem")).unwrap();
    }
}

fn publish_under_observation(library: &Library, former: &Svid) {
    let next = library.issue();
    let sets = [former, &next].map(contents);
    let mut publisher = library.open();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _until = Done(&done);
            publisher.publish(&material(&next), &[]).unwrap();
        });
        loop {
            let last = done.load(Ordering::SeqCst);
            let set = read(library.path());
            // There is one change, from the former set to the next: a certificate that is the same before and
            // after means that nothing has changed in between.
            if set[0] == read(library.path())[0] {
                assert!(sets.contains(&set), "neither the former set nor the next");
            }
            if last {
                break;
            }
        }
    });
    assert_published(library.path(), &next);
}

#[test]
fn d08_the_former_set_stays_until_a_first_identity_is_there() {
    let place = Place::new();
    let former = place.agent.svid();
    write_plain(&place.svids, &former);
    give_all(&place);
    place.agent.remove_entries();
    let pgsvid = place.run();
    place.agent.wait_until(LIMIT, |activity| activity.requests > 0).unwrap();
    assert!(pgsvid.is_running());
    assert_eq!(read(&place.svids), contents(&former));
    assert!(fs::symlink_metadata(place.svids.join("svid.pem")).unwrap().is_file());
}

#[test]
fn d08_a_part_of_a_former_set_is_replaced() {
    let library = Library::new();
    let former = library.issue();
    write(&library.path().join("svid.pem"), &former.chain_pem());
    let svid = library.issue();
    let published = library.open().publish(&material(&svid), &[]).unwrap();
    assert_eq!(published.taken_over, ["svid.pem"]);
    assert_published(library.path(), &svid);
    assert_eq!(names(library.path(), "..v").last(), Some(&published.generation));
}

#[test]
fn d08_during_a_takeover_without_a_bundle_certificate_and_key_belong_together() {
    with_mounts(|| {
        for _ in 0..150 {
            let library = Library::new();
            let _volume = library.in_memory();
            let (former, next) = (library.issue(), library.issue());
            write_plain(library.path(), &former);
            fs::remove_file(library.path().join("svid_bundle.pem")).unwrap();
            let pair = || {
                ["svid.pem", "svid_key.pem"]
                    .map(|name| fs::read(library.path().join(name)).unwrap())
            };
            let known = [&former, &next]
                .map(|svid| [svid.chain_pem().into_bytes(), svid.key_pem().into_bytes()]);
            let mut publisher = library.open();
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    publisher.publish(&material(&next), &[]).unwrap();
                    done.store(true, Ordering::SeqCst);
                });
                while !done.load(Ordering::SeqCst) {
                    let seen = pair();
                    // A certificate that is the same before and after means that nothing has changed in between.
                    assert!(seen[0] != pair()[0] || known.contains(&seen), "a mixed pair");
                }
            });
            assert_published(library.path(), &next);
        }
    });
}

fn give_all(place: &Place) {
    for name in NAMES {
        give(&place.svids.join(name));
    }
}

fn write_plain(directory: &Path, svid: &Svid) {
    for (name, content) in NAMES.into_iter().zip(contents(svid)) {
        write(&directory.join(name), &content);
    }
    set_mode(&directory.join("svid_key.pem"), 0o600);
}
