//! A72: where others may rename, a user replaces an earlier generation whose path clients hold, because a service file has
//! named it.

use std::fs;

use test_support::{Tmpfs, with_mounts};

use crate::publication::attacker::attacks;
use crate::publication::exchanged::exchange;
use crate::publication::place::Library;

#[test]
fn a72_an_earlier_generation_that_is_exchanged_is_noticed_and_what_is_put_in_its_place_removed() {
    with_mounts(|| {
        let mut library = Library::new();
        library.settings.keep_until_expiry = true;
        library.settings.keep_at_most = 3;
        let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
        let mut publisher = library.open();
        let (_, first) = library.publish(&mut publisher);
        let (_, second) = library.publish(&mut publisher);
        assert!(publisher.is_intact());
        let evil = library.path().join("evil");
        fs::create_dir(&evil).unwrap();
        for _ in 0..2 {
            exchange(&library.path().join(&first), &evil);
        }
        assert!(!publisher.is_undisturbed() && !publisher.is_intact());
        library.publish(&mut publisher);
        assert!(publisher.is_intact());
        assert_eq!(publisher.take_disowned(), []);
        // Again and again: a name that is free is watched as well.
        let script =
            "cd \"$1\"; test ! -e $2 || mv $2 kept; mkdir x; touch x/svid_bundle.pem; mv x $2";
        for _ in 0..2 {
            attacks(script, &[library.path(), second.as_ref()]);
            assert!(!publisher.is_undisturbed() && !publisher.is_intact());
            publisher.restore_links();
            let (_, third) = library.publish(&mut publisher);
            assert!(publisher.is_intact());
            let told = publisher.take_disowned();
            assert!(told.len() == 1 && told[0].removed, "{told:?}");
            assert_eq!(told[0].found.path, library.path().join(&second));
            assert!(!library.path().join(&second).exists());
            assert!(library.path().join(third).exists());
        }
        // What is swept is no exchange, and its name is anyone's.
        for _ in 0..4 {
            library.publish(&mut publisher);
            assert!(publisher.is_intact());
        }
        attacks("cd \"$1\"; mkdir $2", &[library.path(), second.as_ref()]);
        assert!(publisher.is_intact());
    });
}
