//! A62: where others may rename, a user replaces a generation, or removes the link to it while there is no space for another
//! set.

use std::fs;
use std::os::unix::fs::symlink;

use pgsvid::material::Expectations;
use pgsvid::publish::Reason;
use pgsvid::timing;
use test_support::{Tmpfs, with_mounts};

use crate::publication::attacker::attacks;
use crate::publication::place::{Library, current, material};

#[test]
fn a62_a_link_in_a_generations_place_is_removed_as_what_others_have_planted() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        library.publish(&mut library.open());
        let script = "cd \"$1\"; old=$(readlink ..data); mv -T $old zzold; ln -s zzold $old";
        attacks(script, &[library.path()]);
        let mut publisher = library.open();
        let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        assert!(found.is_none());
        let told = publisher.take_disowned();
        assert!(told.len() == 1 && told[0].removed, "{told:?}");
        assert!(matches!(told[0].found.reason, Reason::Owner { .. }), "{told:?}");
        assert!(fs::symlink_metadata(library.path().join("..data")).is_err());
        library.publish(&mut publisher);
    });
}

#[test]
fn a62_an_older_generation_under_a_newer_name_does_not_count() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        library.publish(&mut library.open());
        let newer = "..v20990101T000000000Z-00000000";
        let within = |name: &str| library.path().join(name);
        fs::rename(within(&current(library.path())), within(newer)).unwrap();
        fs::remove_file(within("..data")).unwrap();
        symlink(newer, within("..data")).unwrap();
        let mut publisher = library.open();
        let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        assert!(found.is_none());
        assert_eq!(publisher.take_disowned()[0].found.reason, Reason::Renamed);
    });
}

#[test]
fn a62_the_last_set_stays_when_space_has_run_out_and_its_link_was_taken_away() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=64k,mode=0777");
        let mut publisher = library.open();
        library.publish(&mut publisher);
        let generation = library.path().join(current(library.path()));
        attacks("cd \"$1\"; mv -T ..data kept; cat /dev/zero >full || true", &[library.path()]);
        let svid = library.issue();
        assert!(publisher.publish(&material(&svid), &[]).is_err());
        assert!(generation.join("svid_key.pem").exists());
    });
}
