//! A41: where the directory itself can be replaced, pgsvid notices that, whatever else makes the directory trusted, since
//! when, and whatever is swept.

use std::fs;
use std::time::Duration;

use pgsvid::publish::{Publisher, Trust};
use pgsvid::timing;
use test_support::{LIMIT, Tmpfs, with_mounts};

use crate::publication::attacker::{attacker, attacks, give_to};
use crate::publication::exchanged::exchange;
use crate::publication::place::{Library, Place, current, names, open, published, set_mode};

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
    (open(&settings), inner, evil)
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

#[test]
fn a41_a_sweep_hides_no_exchange() {
    with_mounts(|| {
        for name in ["svid_bundle.pem", "..data", "the generation", "the directory"] {
            let mut library = Library::new();
            library.settings.keep_at_most = 2;
            let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
            let (inner, evil) = (library.path().join("pub"), library.path().join("evil"));
            for path in [&inner, &evil] {
                fs::create_dir(path).unwrap();
            }
            set_mode(&inner, 0o1777);
            library.settings.directory =
                if name == "the directory" { inner.clone() } else { library.path().to_owned() };
            let directory = library.settings.directory.clone();
            let mut publisher = library.open();
            for _ in 0..3 {
                library.publish(&mut publisher);
            }
            assert_eq!(names(&directory, "..v").len(), 2, "it is swept before it is left");
            assert!(publisher.is_undisturbed());
            let exchanged = match name {
                "the directory" => inner,
                "the generation" => directory.join(current(&directory)),
                name => directory.join(name),
            };
            exchange(&exchanged, &evil);
            exchange(&exchanged, &evil);
            // What is removed now would change the directory.
            publisher.sweep(timing::now() + Duration::from_secs(3600));
            assert!(!publisher.is_undisturbed(), "{name}");
        }
    });
}
