//! B66: another user fills a shared directory. They may make any number of entries, and each was looked at, at each start and each
//! publication.

use test_support::{Tmpfs, with_mounts};

use crate::publication::attacker::attacks;
use crate::publication::place::{Library, current, open};

/// More than a listing passes over.
const MANY: &str = "cd \"$1\" && seq -f '..v%06g-crowd' 1 12000 | xargs touch";

#[test]
fn b66_of_a_crowd_of_entries_a_part_is_looked_at_and_our_own_are_removed_all_the_same() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=64m,mode=1777");
        let mut publisher = open(&library.settings);
        library.publish(&mut publisher);
        assert!(!publisher.take_crowded());
        let first = current(library.path());
        attacks(MANY, &[library.path()]);
        for _ in 0..3 {
            library.publish(&mut publisher);
            publisher.sweep(pgsvid::timing::now() + std::time::Duration::from_secs(3600));
        }
        assert!(publisher.take_crowded() && !publisher.take_crowded(), "it is told once");
        assert!(publisher.is_intact());
        assert!(!library.path().join(&first).exists(), "{first:?} is of no use any more");
        // The next process finds the set by its link.
        drop(publisher);
        let mut publisher = open(&library.settings);
        assert!(publisher.take_crowded());
        library.publish(&mut publisher);
        assert!(publisher.is_intact());
    });
}
