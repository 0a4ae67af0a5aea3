//! D01, D02, D03: the volume is full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{Account, LIMIT, Mark, Pgsvid, Program, Setup, Tmpfs, with_mounts};

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
        // The remedy is stated once, in its own field.
        assert!(!error.contains("free space"), "{alarm}");
        assert!(alarm["fix"].as_str().unwrap().contains("free space on the volume"), "{alarm}");
        assert!(alarm["next"].as_str().unwrap().contains("the published files stay"), "{alarm}");
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
        // The root, four links, a generation of a directory and four files, and too few for another.
        let (setup, _volume) = setup("size=1m,nr_inodes=17");
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

/// The agent is well, and the clocks are: the cause is the volume, and so is the remedy, wherever it is told.
#[test]
fn n07_a_full_volume_is_the_cause_of_what_expires_because_of_it() {
    with_mounts(|| {
        let (setup, _volume) = setup("size=128k");
        let lasting = |seconds| {
            let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
            setup.agent.set_entries([entry.ttl(Duration::from_secs(seconds))]).unwrap();
        };
        lasting(8);
        let pgsvid = setup.start();
        let filler = fill(setup.files.path());
        lasting(3600);
        alarm(&pgsvid);
        // The published certificate expires, and so does the one that is served.
        let is_over = |event: &Value, name: &str| {
            event["event"] == name && event["level"] == "ERROR" && event["fix"].as_str().is_some()
        };
        for name in ["certificate-expires", "not-in-force"] {
            let told = pgsvid.wait_for_event(LIMIT, |event| is_over(event, name));
            let (cause, fix) = (told["cause"].as_str().unwrap(), told["fix"].as_str().unwrap());
            assert!(cause.contains("No space left on device"), "{told}");
            assert!(fix.contains("free space on the volume"), "{told}");
            assert!(!fix.contains("agent"), "{told}");
        }
        let report = check(&setup);
        let found = |code: &str| {
            let sections = report["sections"].as_array().unwrap();
            let mut all =
                sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
            all.find(|found| found["code"] == code && found["severity"] == "failure")
                .unwrap_or_else(|| panic!("no {code}: {report:#}"))
        };
        for code in ["directory-full", "published-set"] {
            let fix = found(code)["fix"].as_str().unwrap();
            assert!(fix.starts_with("free space on the volume"), "{fix}");
        }
        let command = found("directory-full")["command"].as_str().unwrap();
        let pasted = Program::spawn_as(Account::server(), "/bin/bash", ["-c", command], &[]);
        assert!(pasted.wait_exit(LIMIT).success(), "{command}: {}", pasted.standard_error());
        fs::remove_file(filler).unwrap();
        pgsvid.current(2);
    });
}

fn check(setup: &Setup) -> Value {
    let arguments = setup.arguments();
    let all = ["check", "--format", "json"].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    program.wait_exit(LIMIT);
    serde_json::from_str(&program.standard_output()).unwrap()
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
