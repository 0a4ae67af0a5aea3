//! A41: where the directory itself can be exchanged, that is noticed whatever else the directory is trusted for, since when,
//! and however long a sweep takes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgsvid::publish::{Publisher, Trust};
use pgsvid::timing;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use test_support::{LIMIT, Tmpfs, eventually, with_mounts};
use tokio::time::Instant;

use crate::publication::attacker::{attacker, attacks, give_to};
use crate::publication::place::{Done, Library, Place, current, open, published, set_mode};

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// A directory in the library's, with another one beside it.
fn within(library: &Library, mode: u32) -> (Publisher, std::path::PathBuf, std::path::PathBuf) {
    let mut settings = library.settings.clone();
    let (inner, evil) = (library.path().join("pub"), library.path().join("evil"));
    for path in [&inner, &evil] {
        fs::create_dir(path).unwrap();
        set_mode(path, 0o755);
    }
    give_to(&attacker(), &evil);
    set_mode(&inner, mode);
    settings.directory.clone_from(&inner);
    (open(&settings, &[]), inner, evil)
}

#[test]
fn a41_a_sticky_directory_in_a_mount_for_everybody_is_not_exchanged_unnoticed() {
    for mode in [0o1777, 0o755] {
        with_mounts(|| {
            let library = Library::new();
            let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
            let (mut publisher, inner, evil) = within(&library, mode);
            assert!(publisher.is_exposed());
            library.publish(&mut publisher);
            assert!(publisher.is_intact());
            // As the attacker may.
            attacks(
                "mv -T \"$1/pub\" \"$1/x\"; mv -T \"$1/evil\" \"$1/pub\"; mv -T \"$1/pub\" \"$1/evil\"; mv -T \"$1/x\" \"$1/pub\"",
                &[library.path()],
            );
            assert!(!publisher.is_undisturbed() && !publisher.is_intact(), "{mode:o}");
            library.publish(&mut publisher);
            assert!(publisher.is_intact());
            exchange(&inner, &evil);
            exchange(&inner, &evil);
            // Tidying up does not hide it.
            publisher.sweep(timing::now() + Duration::from_secs(3600));
            assert!(!publisher.is_undisturbed() && !publisher.is_intact(), "{mode:o}");
        });
    }
}

#[test]
fn a41_a_mount_that_is_opened_to_everybody_later_counts_as_one_from_then_on() {
    with_mounts(|| {
        let place = Place::new();
        let owner = test_support::Account::server();
        let options = format!("size=4m,mode=0755,uid={},gid={}", owner.uid(), owner.gid());
        let _volume = Tmpfs::over(&place.svids, &options);
        let pgsvid = place.run();
        published(&pgsvid, 1);
        assert!(!pgsvid.standard_error().contains("a mount of its own"));
        set_mode(&place.svids, 0o777);
        place.agent.rotate().unwrap();
        published(&pgsvid, 2);
        let warning = pgsvid.wait_for_event(LIMIT, |event| event["mode"] == "0777");
        assert!(warning["message"].as_str().unwrap().contains("others may write"), "{warning}");
    });
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=4m,mode=0755");
        let mut publisher = library.open();
        library.publish(&mut publisher);
        assert!(publisher.is_intact() && publisher.trust() == Trust::Exclusive);
        set_mode(library.path(), 0o777);
        assert!(!publisher.is_intact(), "what others have come to be able to do is not noticed");
        library.publish(&mut publisher);
        assert_eq!(publisher.trust(), Trust::Mount { mode: 0o777 });
        assert!(publisher.is_exposed() && publisher.is_intact());
    });
}

/// So many entries that a sweep takes a while.
const MANY: usize = 60_000;

#[test]
fn a41_an_exchange_during_a_long_sweep_is_noticed() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=64m,mode=0777,nr_inodes=200000");
        let mut publisher = library.open();
        library.publish(&mut publisher);
        for number in 0..MANY {
            let link = library.path().join(format!("..v2{number:07}"));
            symlink("x", &link).unwrap();
            give_to(&attacker(), &link);
        }
        let later = || timing::now() + Duration::from_secs(3600);
        // Something is removed each time, and how long it takes is known.
        for _ in 0..2 {
            library.publish(&mut publisher);
        }
        let begun = Instant::now();
        publisher.sweep(later());
        let took = begun.elapsed();
        assert!(publisher.is_intact());
        let names = ["svid_bundle.pem".to_owned(), "..data".to_owned(), String::new()];
        for mut name in names {
            for _ in 0..2 {
                library.publish(&mut publisher);
            }
            if name.is_empty() {
                name = current(library.path());
            }
            let evil = library.path().join("evil");
            fs::create_dir(&evil).unwrap();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _until = Done(&done);
                    publisher.sweep(later());
                });
                std::thread::sleep(took / 3);
                assert!(!done.load(Ordering::SeqCst), "the sweep was too short to be tested");
                exchange(&library.path().join(&name), &evil);
                exchange(&library.path().join(&name), &evil);
            });
            assert!(!publisher.is_undisturbed(), "{name}");
            fs::remove_dir(&evil).unwrap();
        }
    });
}

#[test]
fn a41_the_directory_itself_is_not_exchanged_unnoticed_during_a_sweep() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=64m,mode=0777,nr_inodes=200000");
        let (mut publisher, inner, evil) = within(&library, 0o1777);
        for number in 0..MANY {
            let link = inner.join(format!("..v2{number:07}"));
            symlink("x", &link).unwrap();
            give_to(&attacker(), &link);
        }
        for _ in 0..3 {
            library.publish(&mut publisher);
        }
        publisher.sweep(timing::now() + Duration::from_secs(3600));
        assert!(publisher.is_intact(), "a sweep alone is no exchange");
        for _ in 0..2 {
            library.publish(&mut publisher);
        }
        let first = fs::read_dir(&inner).unwrap().count();
        std::thread::scope(|scope| {
            let sweep = scope.spawn(|| {
                publisher.sweep(timing::now() + Duration::from_secs(3600));
                publisher
            });
            std::thread::sleep(Duration::from_millis(30));
            exchange(&inner, &evil);
            exchange(&inner, &evil);
            let publisher = sweep.join().unwrap();
            assert!(!publisher.is_undisturbed());
        });
        eventually(LIMIT, "something was removed", || {
            fs::read_dir(&inner).unwrap().count() < first
        });
    });
}
