//! D11, D12: somebody edits, deletes or replaces published files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use pgsvid::material::Expectations;
use test_support::{LIMIT, Mark, Program, Setup, Tmpfs, with_mounts};

use crate::publication::place::{
    Library, NAMES, PGSVID, Place, assert_published, current, give, material, mode_of, names,
    published, read, said, set_mode, write,
};

/// What somebody does to the published directory.
type Tampering = (&'static str, fn(&Path));

const TAMPERINGS: [Tampering; 14] = [
    ("edits the certificate", |svids| write(&svids.join("svid.pem"), "nonsense")),
    ("empties the key", |svids| write(&svids.join("svid_key.pem"), "")),
    ("edits the service file", |svids| write(&svids.join("pg_service.conf"), "[products]")),
    ("opens the key to everybody", |svids| set_mode(&svids.join("svid_key.pem"), 0o644)),
    ("closes the bundle", |svids| set_mode(&svids.join("svid_bundle.pem"), 0o000)),
    // Only root may; elsewhere the mode has to do.
    ("gives the key away", |svids| give_away(&svids.join("svid_key.pem"), 0o640)),
    ("closes the generation", |svids| set_mode(&svids.join(current(svids)), 0o700)),
    ("deletes a stable name", |svids| fs::remove_file(svids.join("svid.pem")).unwrap()),
    ("deletes a file", |svids| fs::remove_file(svids.join("..data/svid_key.pem")).unwrap()),
    ("deletes the generation", |svids| fs::remove_dir_all(svids.join(current(svids))).unwrap()),
    ("deletes ..data", |svids| fs::remove_file(svids.join("..data")).unwrap()),
    ("turns ..data back", |svids| {
        let former = names(svids, "..v").swap_remove(0);
        symlink(former, svids.join("link")).unwrap();
        fs::rename(svids.join("link"), svids.join("..data")).unwrap();
    }),
    ("renames a copy over a stable name", |svids| {
        let copy = svids.join("copy");
        write(&copy, &read(svids)[0]);
        give(&copy);
        fs::rename(copy, svids.join("svid.pem")).unwrap();
    }),
    ("renames another link over a stable name", |svids| {
        symlink("..data/svid_bundle.pem", svids.join("link")).unwrap();
        fs::rename(svids.join("link"), svids.join("svid.pem")).unwrap();
        // It is not ours, so its owner has to move it away.
        fs::remove_file(svids.join("svid.pem")).unwrap();
    }),
];

/// PostgreSQL takes no key of a third uid.
fn give_away(path: &Path, otherwise: u32) {
    if std::os::unix::fs::chown(path, Some(1), None).is_err() {
        set_mode(path, otherwise);
    }
}

#[test]
fn d11_every_edited_or_deleted_file_is_restored() {
    let place = Place::new();
    let pgsvid = place.run_with("[files.service]\nfile = 'pg_service.conf'\nname = 'products'\n");
    published(&pgsvid, 1);
    place.agent.rotate().unwrap();
    let mut mark = said(&pgsvid, Mark::default(), "published").1;
    mark = said(&pgsvid, mark, "published").1;
    let svid = place.agent.svid();
    for (what, tamper) in TAMPERINGS {
        println!("somebody {what}");
        tamper(&place.svids);
        let (warning, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["level"] == "WARN" || event["level"] == "ERROR"
        });
        println!("{warning}");
        mark = said(&pgsvid, mark, "published").1;
        assert_published(&place.svids, &svid);
        let service = fs::read_to_string(place.svids.join("pg_service.conf")).unwrap();
        assert!(service.contains(&current(&place.svids)), "{service}");
        assert_eq!(mode_of(&place.svids.join("pg_service.conf")), 0o644);
    }
}

#[test]
fn d11_a_file_that_is_only_touched_or_read_is_left_alone() {
    let place = Place::new();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    let generation = current(&place.svids);
    // Written, but not changed; and what is none of ours.
    write(&place.svids.join("svid.pem"), &place.agent.svid().chain_pem());
    set_mode(&place.svids.join("svid_key.pem"), 0o600);
    write(&place.svids.join("notes"), "of somebody else's");
    assert_eq!(read(&place.svids)[0], place.agent.svid().chain_pem());
    assert_eq!(current(&place.svids), generation);
    // What comes next is the second publication.
    write(&place.svids.join("svid.pem"), "nonsense");
    published(&pgsvid, 2);
    let restorations = pgsvid.lines().iter().filter(|line| line.contains("somebody else")).count();
    assert_eq!(restorations, 1);
    assert_eq!(fs::read_to_string(place.svids.join("notes")).unwrap(), "of somebody else's");
}

/// What is mounted on the directory later is out of a sandbox's reach.
const WITHOUT_SANDBOX: &str = "[sandbox]\nenabled = false\n";

#[test]
fn d12_pgsvid_publishes_to_a_directory_that_was_renamed_away_and_recreated() {
    let place = Place::new();
    let pgsvid = place.run_with(WITHOUT_SANDBOX);
    published(&pgsvid, 1);
    let away = place.other.join("away");
    fs::rename(&place.svids, &away).unwrap();
    fs::create_dir(&place.svids).unwrap();
    give(&place.svids);
    published(&pgsvid, 2);
    assert_published(&place.svids, &place.agent.svid());
    assert_published(&away, &place.agent.svid());
    // It is watched and locked like the first one.
    let mark = pgsvid.mark();
    write(&place.svids.join("svid.pem"), "nonsense");
    said(&pgsvid, mark, "published");
    assert!(place.refused().contains("is in use by another pgsvid"));
    place.agent.rotate().unwrap();
    published(&pgsvid, 4);
    assert_published(&place.svids, &place.agent.svid());
    assert_eq!(names(&away, "..v").len(), 1);
}

#[test]
fn d12_in_the_sandbox_a_recreated_directory_ends_the_daemon_and_the_next_one_goes_on() {
    let place = Place::new();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    fs::rename(&place.svids, place.other.join("away")).unwrap();
    fs::create_dir(&place.svids).unwrap();
    give(&place.svids);
    let mark = assert_bound(&pgsvid, &place.svids);
    said(&pgsvid, mark, "published");
    assert_published(&place.svids, &place.agent.svid());
}

/// The daemon has ended and named the reason, and the next one is there.
#[track_caller]
fn assert_bound(pgsvid: &Program, svids: &Path) -> Mark {
    let reason = format!("{} was unmounted, removed or replaced", svids.display());
    pgsvid.wait_for(LIMIT, |line| line.starts_with("pgsvid: ") && line.contains(&reason));
    said(pgsvid, Mark::default(), "daemon-restarted").1
}

#[test]
fn d12_a_volume_that_is_mounted_over_the_directory_is_noticed_at_the_next_verification() {
    with_mounts(|| {
        let setup = Setup::new(PGSVID);
        setup.configure(&format!("[postgres]\nverify_every = '1s'\n{WITHOUT_SANDBOX}"));
        let pgsvid = setup.start();
        let owner = format!("mode=0755,uid={},gid={}", setup.cluster.uid(), setup.cluster.gid());
        let volume = Tmpfs::over(setup.files.path(), &format!("size=1m,{owner}"));
        let event = pgsvid.current(2);
        assert!(event["reload_ms"].is_number(), "{event}");
        assert_published(setup.files.path(), &setup.agent.svid());
        // And back to the first one, where there is still a set, when the volume is unmounted.
        drop(volume);
        setup.agent.rotate().unwrap();
        pgsvid.current(3);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

#[test]
fn d12_in_the_sandbox_a_volume_that_is_mounted_over_the_directory_ends_the_daemon() {
    with_mounts(|| {
        let setup = Setup::new(PGSVID);
        setup.configure("[postgres]\nverify_every = '1s'");
        let pgsvid = setup.start();
        let owner = format!("mode=0755,uid={},gid={}", setup.cluster.uid(), setup.cluster.gid());
        let _volume = Tmpfs::over(setup.files.path(), &format!("size=1m,{owner}"));
        let mark = assert_bound(&pgsvid, setup.files.path());
        let (event, _) = pgsvid.event_after(mark, "rotated");
        assert_eq!((&event["generation"], &event["verdict"]), (&1.into(), &"current".into()));
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

#[test]
fn w16_holds_is_true_only_for_the_set_that_this_publisher_published() {
    let library = Library::new();
    let mut publisher = library.open();
    let (first, second) = (material(&library.issue()), material(&library.issue()));
    assert!(!publisher.holds(&first, &[]) && !publisher.is_intact());
    publisher.publish(&first, &[]).unwrap();
    assert!(publisher.holds(&first, &[]) && publisher.is_intact());
    assert!(!publisher.holds(&second, &[]));
    let extra = material(&Library::new().issue()).authorities().cloned().collect::<Vec<_>>();
    assert!(!publisher.holds(&first, &extra));
    // What is in the bundle anyway adds nothing.
    let same = first.authorities().cloned().collect::<Vec<_>>();
    assert!(publisher.holds(&first, &same));

    // So does the next run.
    drop(publisher);
    let mut publisher = library.open();
    assert!(!publisher.holds(&first, &[]));
    let found =
        publisher.existing(&Expectations::default(), pgsvid::timing::now()).unwrap().unwrap();
    assert!(found.publishes_as(&first));
    assert!(publisher.holds(&first, &[]) && publisher.is_intact());
    for name in NAMES {
        fs::remove_file(library.path().join(name)).unwrap();
        assert!(!publisher.is_intact());
        publisher.publish(&first, &[]).unwrap();
        assert!(publisher.is_intact());
    }
}

#[test]
fn w16_an_identical_set_is_not_written_again() {
    let place = Place::new();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    let generation = current(&place.svids);
    for _ in 0..3 {
        let before = place.agent.activity().messages;
        place.agent.repeat();
        place.agent.wait_until(LIMIT, |activity| activity.messages > before).unwrap();
    }
    assert!(pgsvid.terminate(LIMIT).success());
    // Neither is it by the next run.
    let pgsvid = place.run();
    pgsvid.wait_for_text(LIMIT, "the set of an earlier run is still valid");
    pgsvid.wait_for_text(LIMIT, "identity received");
    assert_eq!(names(&place.svids, "..v"), [generation]);
    place.agent.rotate().unwrap();
    published(&pgsvid, 1);
    assert_eq!(names(&place.svids, "..v").len(), 2);
}
