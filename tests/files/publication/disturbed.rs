//! A43, A44, A46: what others did while pgsvid was not running, had nothing to publish, or could not publish.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use test_support::{LIMIT, Mark, Setup, Signal, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacks, forged, give_to, link, plant};
use crate::publication::exchanged::{Stage, exchange, reload};
use crate::publication::place::{NAMES, PGSVID, Place, assert_published, set_mode};
use crate::publication::planted::{REMOVED, ask};

#[test]
fn a43_a_restart_does_not_forget_that_postgresql_may_have_read_something_else() {
    with_mounts(|| {
        let stage = Stage::new();
        let Stage { setup, socket, .. } = &stage;
        let pgsvid = setup.start();
        let evil = stage.evil();
        pgsvid.signal(Signal::KILL);
        pgsvid.wait_exit(LIMIT);
        let bundle = setup.files.join("svid_bundle.pem");
        exchange(&bundle, &evil);
        reload(setup);
        exchange(&bundle, &evil);
        // No session for it, as when all are taken.
        setup.cluster.sql("postgres", "postgres", "ALTER ROLE pgsvid CONNECTION LIMIT 0");
        let pgsvid = setup.spawn();
        pgsvid.wait_for_text(LIMIT, "too many connections for role");
        assert!(pgsvid.events("rotated").is_empty(), "it counts what PostgreSQL may not have read");
        assert_eq!(ask(socket).0, 503);
        setup.cluster.sql("postgres", "postgres", "ALTER ROLE pgsvid CONNECTION LIMIT -1");
        let event = pgsvid.event("rotated");
        assert_eq!(event["verdict"], "current", "{event}");
        assert!(event["reload_ms"].is_number(), "{event}");
        eventually(LIMIT, "it is ready", || ask(socket).0 == 200);
    });
}

#[test]
fn a44_what_is_planted_while_there_is_no_identity_is_reported_and_removed() {
    let setup = Setup::new(PGSVID);
    set_mode(setup.files.path(), 0o1777);
    setup.agent.remove_entries();
    let pgsvid = setup.spawn();
    pgsvid.wait_for_text(LIMIT, "not registered");
    let mut mark = Mark::default();
    // Again and again, and it is told each time.
    for _ in 0..2 {
        let generation = plant(setup.files.path(), &forged());
        let path = setup.files.join("..data").display().to_string();
        mark = pgsvid
            .wait_for_event_after(mark, LIMIT, |event| {
                event["event"] == REMOVED && event["path"] == path
            })
            .1;
        eventually(LIMIT, "nothing can be read at our names", || {
            NAMES.iter().all(|name| !setup.files.join(name).exists())
        });
        assert!(setup.cluster.try_start().is_err(), "PostgreSQL starts from the planted set");
        let _ = fs::remove_dir_all(generation);
        for name in NAMES {
            let _ = fs::remove_file(setup.files.join(name));
        }
    }
}

#[test]
fn a44_what_is_planted_and_cannot_be_removed_is_reported_with_the_command() {
    let place = Place::new();
    give_to(test_support::Account::current(), &place.svids);
    set_mode(&place.svids, 0o1777);
    place.agent.remove_entries();
    let pgsvid = place.run();
    pgsvid.wait_for_text(LIMIT, "not registered");
    plant(&place.svids, &forged());
    let told = pgsvid.wait_for_event(LIMIT, |event| {
        event["level"] == "ERROR" && event["error"].as_str().unwrap().contains("as root, run rm -r")
    });
    let path = place.svids.join("..data").display().to_string();
    assert!(told["error"].as_str().unwrap().starts_with(&path), "{told}");
    assert!(pgsvid.is_running());
}

#[test]
fn a46_a_link_that_others_have_turned_is_made_again_while_the_volume_is_full() {
    with_mounts(|| {
        let setup = Setup::new(PGSVID);
        let _volume = Tmpfs::over(setup.files.path(), "size=128k,mode=0777");
        setup.configure("[postgres]\nverify_every = '1s'");
        let pgsvid = setup.start();
        let old = setup.agent.svid();
        fill(setup.files.path());
        setup.agent.rotate().unwrap();
        pgsvid.event("publication-failed");
        let evil = setup.other.write("evil.pem", forged().bundle_pem(), 0o644);
        let log = setup.cluster.log_mark();
        attacks(
            "ln -s \"$2\" \"$1/x\"; mv -T \"$1/x\" \"$1/svid_bundle.pem\"",
            &[setup.files.path(), &evil],
        );
        eventually(LIMIT, "the link is ours again", || {
            fs::read_link(setup.files.join("svid_bundle.pem"))
                .is_ok_and(|target| target == Path::new("..data/svid_bundle.pem"))
        });
        assert_published(setup.files.path(), &old);
        // PostgreSQL may have read by the other one, and has to read again.
        setup.cluster.wait_for_log(log, LIMIT, "received SIGHUP");
        assert_published(setup.files.path(), &old);
        fs::remove_file(setup.files.join("filler")).unwrap();
        pgsvid.current(2);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

#[test]
fn a46_postgresql_is_not_asked_to_read_by_a_link_that_cannot_be_recreated() {
    with_mounts(|| {
        let setup = Setup::new(PGSVID);
        let volume = Tmpfs::over(setup.files.path(), "size=1m,mode=0777");
        let socket = setup.other.join("status.sock");
        setup.configure(&format!(
            "[postgres]\nverify_every = '1s'\n[health]\nlisten = 'unix:{}'",
            socket.display()
        ));
        let pgsvid = setup.spawn_with(&["--log-level", "debug"]);
        setup.wait_published();
        setup.cluster.start();
        pgsvid.current(1);
        volume.set_read_only(true);
        setup.agent.rotate().unwrap();
        // Until the next try is far away.
        eventually(LIMIT, "it is tried again and again", || {
            pgsvid.messages("still cannot publish the new identity").len() >= 4
        });
        let bundle = setup.files.join("svid_bundle.pem");
        let evil = setup.other.write("evil.pem", forged().bundle_pem(), 0o644);
        pgsvid.daemon().signal(Signal::STOP);
        volume.set_read_only(false);
        link(setup.files.path(), "svid_bundle.pem", &evil.display().to_string());
        volume.set_read_only(true);
        let log = setup.cluster.log_mark();
        pgsvid.daemon().signal(Signal::CONT);
        eventually(LIMIT, "it is not ready", || ask(&socket).0 == 503);
        // What makes it try to hand over what is published.
        for number in 0..6 {
            File::create(setup.cluster.socket_directory().join(format!("x{number}"))).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        assert_eq!(fs::read_link(&bundle).unwrap(), evil);
        assert!(!setup.cluster.log_since(log).contains("received SIGHUP"));
        volume.set_read_only(false);
        pgsvid.current(2);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

/// Fills the volume to the last byte.
fn fill(directory: &Path) {
    let mut file = File::create(directory.join("filler")).unwrap();
    while file.write(&[b'x'; 512]).is_ok_and(|written| written > 0) {}
}
