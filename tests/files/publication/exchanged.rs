//! A23: another user replaces published files while PostgreSQL reads them, and puts them back before anybody looks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dev_agent::KeyIdentifier;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, kill_process};
use test_support::{LIMIT, Program, Setup, Signal, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacker, give_to, link};
use crate::publication::place::{Done, Library, NAMES, PGSVID, give, set_mode};
use crate::publication::planted::ask;

/// A PostgreSQL whose set lies in a mount for everybody, and an attacker's file beside it.
pub(crate) struct Stage {
    _volume: Tmpfs,
    pub(crate) setup: Setup,
    /// Where pgsvid says whether it is ready.
    pub(crate) socket: PathBuf,
    /// A bundle with the authority, and one of the same name with another key.
    pub(crate) both: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let setup = Setup::new(PGSVID);
        let volume = Tmpfs::over(setup.files.path(), "size=4m,mode=0777");
        let socket = setup.other.join("status.sock");
        setup.configure(&format!("[health]\nlisten = 'unix:{}'", socket.display()));
        let authority = setup.agent.authority();
        let twin = authority.twin(KeyIdentifier::Copied).unwrap();
        let both = format!("{}{}", authority.root_pem(), twin.root_pem());
        let both = setup.other.write("both.pem", both, 0o644);
        Self { _volume: volume, setup, socket, both }
    }

    /// A link of the attacker's to that bundle, beside the set.
    pub(crate) fn evil(&self) -> PathBuf {
        link(self.setup.files.path(), "x", &self.both.display().to_string());
        self.setup.files.join("x")
    }
}

pub(crate) fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// Does something between two looks of pgsvid's.
pub(crate) fn unseen(pgsvid: &Program, work: impl FnOnce()) {
    let daemon = Pid::from_raw(pgsvid.daemon_pid().try_into().unwrap()).unwrap();
    kill_process(daemon, Signal::STOP).unwrap();
    work();
    kill_process(daemon, Signal::CONT).unwrap();
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
        let stage = Stage::new();
        let setup = &stage.setup;
        let pgsvid = setup.start();
        for (generation, name) in (2..).zip(["svid_bundle.pem", "..data"]) {
            let evil = stage.evil();
            if name == "..data" {
                link(setup.files.path(), "x", "y");
                let set = setup.files.join("y");
                fs::create_dir(&set).unwrap();
                for name in NAMES {
                    fs::copy(setup.files.join(name), set.join(name)).unwrap();
                    give(&set.join(name));
                }
                set_mode(&set.join("svid_key.pem"), 0o600);
                fs::copy(&stage.both, set.join("svid_bundle.pem")).unwrap();
                set_mode(&set, 0o755);
                give_to(&attacker(), &set);
            }
            unseen(&pgsvid, || {
                exchange(&setup.files.join(name), &evil);
                reload(setup);
                exchange(&setup.files.join(name), &evil);
            });
            let event = pgsvid.current(generation);
            assert!(event["reload_ms"].is_number(), "{event}");
            eventually(LIMIT, "it is ready", || ask(&stage.socket).0 == 200);
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
        let mut publisher = crate::publication::place::open(&settings);
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
fn a23_a_published_entry_that_is_swapped_and_swapped_back_is_noticed_and_a_new_entry_beside_it_is_not()
 {
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

#[test]
fn a73_exchanges_after_each_publication_are_answered_less_and_less_soon() {
    with_mounts(|| {
        let stage = Stage::new();
        let setup = &stage.setup;
        let pgsvid = setup.start();
        let (bundle, evil) = (setup.files.join("svid_bundle.pem"), stage.evil());
        let current = || fs::read_link(setup.files.join("..data")).unwrap();
        let log = setup.cluster.log_mark();
        let done = AtomicBool::new(false);
        let publications = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let _until = Done(&done);
            scope.spawn(|| {
                let mut last = current();
                while !done.load(Ordering::SeqCst) {
                    // Before it is proven and afterwards, or every other time only afterwards.
                    if last != current() || publications.load(Ordering::SeqCst) == 0 {
                        last = current();
                        let nth: usize = publications.fetch_add(1, Ordering::SeqCst);
                        let pauses: &[u64] =
                            if nth.is_multiple_of(2) { &[0, 30, 300] } else { &[300] };
                        for pause in pauses {
                            std::thread::sleep(Duration::from_millis(*pause));
                            exchange(&bundle, &evil);
                            exchange(&bundle, &evil);
                        }
                    }
                }
            });
            eventually(LIMIT, "it is disturbed again and again", || {
                pgsvid.events("set-disturbed").len() >= 5
            });
            assert_eq!(ask(&stage.socket).0, 503);
        });
        // The first is answered at once, each other one when its time has come.
        let publications = publications.into_inner();
        let disturbed = pgsvid.events("set-disturbed").len();
        assert!(publications <= disturbed + 2, "{publications} publications, {disturbed} delayed");
        let reloads = setup.cluster.log_since(log).matches("received SIGHUP").count();
        assert!(reloads <= 2 * publications + 2, "{reloads} reloads, {publications} publications");
        eventually(LIMIT, "it is ready when nobody exchanges any more", || {
            ask(&stage.socket).0 == 200
        });
    });
}
