//! A23: another user exchanges what is published while PostgreSQL reads it, and exchanges it back before anybody looks.

use std::fs;
use std::path::Path;

use dev_agent::KeyIdentifier;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, Signal, kill_process};
use test_support::{LIMIT, Pgsvid, Setup, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacker, give_to, link};
use crate::publication::place::{Library, NAMES, PGSVID, give, set_mode};
use crate::publication::planted::ask;

pub(crate) fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// Does something between two looks of pgsvid's.
fn unseen(pgsvid: &Pgsvid, work: impl FnOnce()) {
    let pid = Pid::from_raw(pgsvid.daemon_pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    work();
    kill_process(pid, Signal::CONT).unwrap();
}

/// PostgreSQL reads what is there now, by somebody's reload.
pub(crate) fn reload(setup: &Setup) {
    let log = setup.cluster.log_mark();
    setup.cluster.sighup();
    eventually(LIMIT, "PostgreSQL reads again", || {
        setup.cluster.log_since(log).contains("received SIGHUP")
    });
}

#[test]
fn a23_what_was_exchanged_and_exchanged_back_is_read_again_before_it_counts() {
    with_mounts(|| {
        let setup = Setup::new(PGSVID);
        let _volume = Tmpfs::over(setup.files.path(), "size=4m,mode=0777");
        let socket = setup.other.join("status.sock");
        setup.configure(&format!("[health]\nlisten = 'unix:{}'", socket.display()));
        let pgsvid = setup.start();
        let twin = setup.agent.authority().twin(KeyIdentifier::Copied).unwrap();
        let both = format!("{}{}", setup.agent.authority().root_pem(), twin.root_pem());
        let both = setup.other.write("both.pem", both, 0o644);
        for (generation, name) in (2..).zip(["svid_bundle.pem", "..data"]) {
            let evil = setup.files.join("x");
            link(setup.files.path(), "x", &both.display().to_string());
            if name == "..data" {
                link(setup.files.path(), "x", "y");
                let set = setup.files.join("y");
                fs::create_dir(&set).unwrap();
                for name in NAMES {
                    fs::copy(setup.files.join(name), set.join(name)).unwrap();
                    give(&set.join(name));
                }
                set_mode(&set.join("svid_key.pem"), 0o600);
                fs::copy(&both, set.join("svid_bundle.pem")).unwrap();
                set_mode(&set, 0o755);
                give_to(&attacker(), &set);
            }
            unseen(&pgsvid, || {
                exchange(&setup.files.join(name), &evil);
                reload(&setup);
                exchange(&setup.files.join(name), &evil);
            });
            let event = pgsvid.current(generation);
            assert!(event["reload_ms"].is_number(), "{event}");
            eventually(LIMIT, "it is ready", || ask(&socket).0 == 200);
        }
    });
}

#[test]
fn a23_a_directory_that_was_exchanged_and_exchanged_back_is_read_again_before_it_counts() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
        let mut settings = library.settings.clone();
        settings.directory = library.path().join("middle/svids");
        let (middle, evil) = (library.path().join("middle"), library.path().join("evil"));
        for path in [&middle, &settings.directory, &evil] {
            fs::create_dir(path).unwrap();
            set_mode(path, 0o755);
        }
        give_to(&attacker(), &evil);
        let mut publisher = crate::publication::place::open(&settings, &[]);
        for _ in 0..2 {
            library.publish(&mut publisher);
            publisher.sweep(pgsvid::timing::now());
            assert!(publisher.is_intact());
            exchange(&middle, &evil);
            exchange(&middle, &evil);
            assert!(!publisher.is_intact());
            // Tidying up does not hide it.
            publisher.sweep(pgsvid::timing::now());
            assert!(!publisher.is_intact());
        }
    });
}

#[test]
fn a23_whatever_is_exchanged_at_once_and_back_is_noticed_and_what_is_beside_it_is_not() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
        let mut publisher = library.open();
        let evil = library.path().join("evil");
        for name in ["svid.pem", "svid_key.pem", "svid_bundle.pem", "..data", "the generation"] {
            let (_, generation) = library.publish(&mut publisher);
            assert!(publisher.is_intact());
            let _ = fs::remove_dir(&evil);
            fs::create_dir(&evil).unwrap();
            assert!(publisher.is_intact(), "what is none of ours");
            let name = if name == "the generation" { &generation } else { name };
            exchange(&library.path().join(name), &evil);
            exchange(&library.path().join(name), &evil);
            assert!(!publisher.is_intact(), "{name}");
        }
    });
}
