//! D01, D02, D03: the volume takes nothing more.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::{Mark, Pgsvid, Setup, Tmpfs, with_mounts};

use crate::publication::place::{PGSVID, assert_published, names};
use crate::publication::planted::ask;

#[test]
fn d01_without_space_the_old_set_is_served_until_there_is_some() {
    with_mounts(|| {
        let (setup, _volume) = setup("size=128k");
        let pgsvid = setup.spawn_with(&["--log-level", "debug"]);
        setup.wait_published();
        setup.cluster.start();
        pgsvid.current(1);
        let old = setup.agent.svid();
        let filler = fill(setup.files.path());
        setup.agent.rotate().unwrap();
        let alarm = alarm(&pgsvid);
        let error = alarm["error"].as_str().unwrap();
        assert!(error.contains("No space left on device"), "{alarm}");
        assert!(error.contains("make room on the volume"), "{alarm}");
        assert!(alarm["next"].as_str().unwrap().contains("what was published stays"), "{alarm}");
        assert_published(setup.files.path(), &old);
        assert_eq!(names(setup.files.path(), "..v").len(), 1, "nothing half written stays");
        setup.cluster.restart();
        assert!(pgsvid.is_running());

        // It is tried again, and said once.
        pgsvid.message("still cannot publish the new identity");
        assert_eq!(pgsvid.events("publication-failed").len(), 1);
        fs::remove_file(filler).unwrap();
        pgsvid.current(2);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

#[test]
fn d01_former_generations_make_room_before_anything_fails() {
    with_mounts(|| {
        let (setup, _volume) = setup("size=128k");
        let pgsvid = setup.start();
        setup.agent.rotate().unwrap();
        pgsvid.current(2);
        assert_eq!(names(setup.files.path(), "..v").len(), 2);
        fill(setup.files.path());
        setup.agent.rotate().unwrap();
        pgsvid.current(3);
        assert_published(setup.files.path(), &setup.agent.svid());
        assert!(pgsvid.events("publication-failed").is_empty());
    });
}

#[test]
fn d02_without_inodes_the_old_set_is_served_until_there_are_some() {
    with_mounts(|| {
        // The root, four links, a generation of a directory and three files, and too few for another.
        let (setup, _volume) = setup("size=1m,nr_inodes=16");
        let pgsvid = setup.start();
        let old = setup.agent.svid();
        let fillers: Vec<_> = (0..20)
            .map(|number| setup.files.join(&format!("filler{number}")))
            .take_while(|path| File::create(path).is_ok())
            .collect();
        setup.agent.rotate().unwrap();
        let alarm = alarm(&pgsvid);
        assert!(alarm["error"].as_str().unwrap().contains("No space left on device"), "{alarm}");
        assert_published(setup.files.path(), &old);
        for path in fillers {
            fs::remove_file(path).unwrap();
        }
        pgsvid.current(2);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

/// The new generation fits, and the link to it no more: that needs an inode, too.
#[test]
fn b28_former_generations_make_room_for_the_link_as_well() {
    with_mounts(|| {
        // The root, the lock, four links, and three generations of a directory and three files.
        let (setup, _volume) = setup("size=1m,nr_inodes=18");
        let pgsvid = setup.start();
        for generation in 2..=4 {
            setup.agent.rotate().unwrap();
            pgsvid.current(generation);
            assert_published(setup.files.path(), &setup.agent.svid());
        }
        assert!(pgsvid.events("publication-failed").is_empty());
    });
}

#[test]
fn d03_on_a_read_only_volume_the_old_set_is_served_until_it_can_be_written() {
    with_mounts(|| {
        let (setup, volume) = setup("size=1m");
        let pgsvid = setup.start();
        let old = setup.agent.svid();
        volume.set_read_only(true);
        setup.agent.rotate().unwrap();
        let alarm = alarm(&pgsvid);
        let error = alarm["error"].as_str().unwrap();
        assert!(error.contains("mount the volume read-write for pgsvid"), "{alarm}");
        assert_published(setup.files.path(), &old);
        volume.set_read_only(false);
        pgsvid.current(2);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

/// What PostgreSQL is to serve is what is published, not what could not be published yet.
#[test]
fn b04_while_nothing_can_be_published_postgresql_is_judged_by_what_is() {
    with_mounts(|| {
        let (setup, volume) = setup("size=1m");
        let socket = setup.other.join("status.sock");
        setup.configure(&format!(
            "[postgres]\nverify_every = '1s'\n[log]\nlevel = 'debug'\n[health]\nlisten = 'unix:{}'",
            socket.display()
        ));
        let pgsvid = setup.start();
        volume.set_read_only(true);
        setup.agent.rotate().unwrap();
        let mut mark = pgsvid.event_after(Mark::default(), "publication-failed").1;
        for _ in 0..3 {
            mark = pgsvid.message_after(mark, "verified again").1;
            // Ready, and not without a word.
            let (code, answer) = ask(&socket);
            assert_eq!(code, 200, "{answer}");
            assert!(answer.contains("mount the volume read-write for pgsvid"), "{answer}");
        }
        assert_eq!(pgsvid.events("not-in-force").len(), 0);
        volume.set_read_only(false);
        pgsvid.current(2);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

/// The usual setup with a volume over the published directory.
fn setup(options: &str) -> (Setup, Tmpfs) {
    let setup = Setup::new(PGSVID);
    let owner = format!("uid={},gid={}", setup.cluster.uid(), setup.cluster.gid());
    let volume = Tmpfs::over(setup.files.path(), &format!("mode=0755,{options},{owner}"));
    (setup, volume)
}

/// Fills the volume to the last byte.
fn fill(directory: &Path) -> PathBuf {
    let path = directory.join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write(&[b'x'; 512]).is_ok_and(|written| written > 0) {}
    path
}

#[track_caller]
fn alarm(pgsvid: &Pgsvid) -> Value {
    let (alarm, _) = pgsvid.event_after(Mark::default(), "publication-failed");
    assert_eq!(alarm["level"], "ERROR");
    alarm
}
