//! A70, A71: where others may rename a directory above the published one, or the published one itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use pgsvid::material::Expectations;
use pgsvid::publish::{Publisher, Reason};
use pgsvid::timing;
use test_support::{Mark, Tmpfs, with_mounts};

use crate::publication::attacker::{attacker, attacks, give_to, link};
use crate::publication::exchanged::{exchange, unseen};
use crate::publication::place::{
    Library, Place, assert_published, contents, give, published, read, said, set_mode, write,
};

/// More than is allowed for between the steps of a publication.
const LATER: Duration = Duration::from_millis(3_100);

#[test]
fn a70_what_is_exchanged_above_the_directory_is_noticed_at_once() {
    with_mounts(|| {
        for way in ["middle", "link"] {
            let mut place = Place::new();
            let _volume = Tmpfs::over(&place.svids, "size=4m,mode=0777");
            let mount = place.svids.clone();
            for name in ["middle", "middle/svids"] {
                fs::create_dir(mount.join(name)).unwrap();
                give(&mount.join(name));
            }
            symlink("middle", mount.join("link")).unwrap();
            give(&mount.join("link"));
            if way == "link" {
                link(&mount, "evil", "elsewhere");
            } else {
                fs::create_dir(mount.join("evil")).unwrap();
                give_to(&attacker(), &mount.join("evil"));
            }
            place.svids = mount.join(way).join("svids");
            // Without a server it looks every five minutes.
            let pgsvid = place.run();
            published(&pgsvid, 1);
            let mut mark = Mark::default();
            for generation in 2..=3 {
                unseen(&pgsvid, || {
                    exchange(&mount.join(way), &mount.join("evil"));
                    exchange(&mount.join(way), &mount.join("evil"));
                });
                mark = said(&pgsvid, mark, "files-changed").1;
                published(&pgsvid, generation);
                assert_published(&place.svids, &place.agent.svid());
            }
        }
    });
}

#[test]
fn a70_what_others_make_beside_the_set_or_the_directory_is_no_exchange() {
    with_mounts(|| {
        for mode in [0o1777, 0o755] {
            let mut library = Library::new();
            let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
            let mut publisher = within(&mut library, Some(mode));
            for _ in 0..3 {
                library.publish(&mut publisher);
                publisher.sweep(timing::now() + Duration::from_secs(3600));
                if mode == 0o1777 {
                    attacks("cd \"$1/svids\"; touch a; mv a b; rm b", &[library.path()]);
                    assert!(publisher.is_intact(), "a file of another user's beside the set");
                }
                // What follows is beside the directory.
                library.publish(&mut publisher);
                attacks("cd \"$1\"; touch a; mv a b; rm b", &[library.path()]);
                publisher.sweep(timing::now() + Duration::from_secs(3600));
                assert!(publisher.is_intact(), "a file of another user's beside the directory");
            }
            // An exchange that it is to hide.
            library.publish(&mut publisher);
            attacks("cd \"$1\"; mv svids x; mv x svids", &[library.path()]);
            if mode == 0o1777 {
                attacks("cd \"$1/svids\"; touch a; rm a", &[library.path()]);
            }
            assert!(!publisher.is_undisturbed() && !publisher.is_intact());
        }
    });
}

fn existing(publisher: &mut Publisher) -> bool {
    publisher.existing(&Expectations::default(), timing::now()).unwrap().is_some()
}

/// A directory in a mount for everybody: a new one of this mode, or the one that is there.
fn within(library: &mut Library, mode: Option<u32>) -> Publisher {
    let svids = library.path().join("svids");
    if let Some(mode) = mode {
        fs::create_dir(&svids).unwrap();
        set_mode(&svids, mode);
    }
    library.settings.directory = svids;
    library.open()
}

#[test]
fn a71_a_whole_directory_that_was_put_back_does_not_count() {
    with_mounts(|| {
        let mut library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        let svids = library.path().join("svids");
        let mut publisher = within(&mut library, Some(0o755));
        let (older, _) = library.publish(&mut publisher);
        drop(publisher);
        // What a killed run has left there is cleared away, which is not to hide anything.
        symlink("nowhere", svids.join("..tmp-00000001")).unwrap();
        attacks("cd \"$1\"; mv svids kept", &[library.path()]);
        let mut publisher = within(&mut library, Some(0o755));
        library.publish(&mut publisher);
        drop(publisher);
        std::thread::sleep(LATER);
        attacks("cd \"$1\"; mv svids x; mv kept svids", &[library.path()]);
        assert!(read(&svids) == contents(&older), "the older set is back");
        let mut publisher = within(&mut library, None);
        assert!(!existing(&mut publisher));
        let told = publisher.take_disowned();
        assert!(told.len() == 1 && !told[0].removed, "{told:?}");
        assert_eq!((&*told[0].found.path, told[0].found.reason), (&*svids, Reason::Renamed));
        // PostgreSQL can start from it all the same.
        assert!(read(&svids) == contents(&older));
        let (svid, _) = library.publish(&mut publisher);
        assert_published(&svids, &svid);
        drop(publisher);
        // What nobody has renamed counts, later and with another entry, too.
        assert!(existing(&mut within(&mut library, None)));
        std::thread::sleep(LATER);
        write(&svids.join("a"), "");
        let mut publisher = within(&mut library, None);
        assert!(existing(&mut publisher), "{:?}", publisher.take_disowned());
    });
}
