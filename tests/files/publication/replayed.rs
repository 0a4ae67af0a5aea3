//! A38: where others may rename, a user puts an older set of ours back, which is still valid.

use std::path::Path;
use std::time::Duration;

use dev_agent::{Stop, Svid};
use pgsvid::material::Expectations;
use pgsvid::publish::{Publisher, Reason};
use pgsvid::timing;
use test_support::{LIMIT, Program, Tmpfs, with_mounts};

use crate::publication::attacker::attacks;
use crate::publication::place::{
    Library, PGSVID, Place, assert_published, contents, current, published, read,
};

const OLDER: &str = "older-set-kept";
/// More than is allowed for between the steps of a publication.
const LATER: Duration = Duration::from_millis(3_100);

/// How the older set comes back: under the newer one's name, or by its own link, which was renamed in time. `$2` is the
/// older generation.
const REPLAYS: [(&str, &str); 2] = [
    ("true", "new=$(readlink ..data); mv -T $new stash; mv -T $2 $new"),
    ("mv -T ..data kept", "mv -T kept ..data"),
];

/// Publishes two sets, and puts the first one back.
fn replay(
    directory: &Path,
    (before, after): (&str, &str),
    mut publish: impl FnMut() -> Svid,
) -> (Svid, Svid) {
    let older = publish();
    let generation = current(directory);
    attacks(&format!("cd \"$1\"; {before}"), &[directory]);
    let newer = publish();
    assert_published(directory, &newer);
    std::thread::sleep(LATER);
    attacks(&format!("cd \"$1\"; {after}"), &[directory, Path::new(&generation)]);
    assert!(read(directory) == contents(&older), "the older set is back");
    (older, newer)
}

fn existing(publisher: &mut Publisher) -> bool {
    publisher.existing(&Expectations::default(), timing::now()).unwrap().is_some()
}

#[test]
fn a38_an_older_set_that_was_put_back_does_not_count_as_the_set_of_an_earlier_run() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=8m,mode=0777");
        for by in REPLAYS {
            replay(library.path(), by, || library.publish(&mut library.open()).0);
            let mut publisher = library.open();
            assert!(!existing(&mut publisher), "{by:?}");
            let told = publisher.take_disowned();
            assert!(told.iter().all(|told| told.found.reason == Reason::Renamed), "{told:?}");
            assert_eq!(told.len(), 1);
            let (svid, _) = library.publish(&mut publisher);
            assert_published(library.path(), &svid);
            drop(publisher);
            // What nobody has renamed counts, and so it does when root has given the volume to its group.
            assert!(existing(&mut library.open()));
            std::thread::sleep(LATER);
            assert!(existing(&mut library.open()));
            let chown = ["-Rh", ":54321", &library.path().display().to_string()];
            assert!(std::process::Command::new("chown").args(chown).status().unwrap().success());
            let mut publisher = library.open();
            assert!(existing(&mut publisher), "{:?}", publisher.take_disowned());
        }
    });
}

#[test]
fn a38_fetch_asks_the_agent_where_an_older_set_can_be_put_back() {
    with_mounts(|| {
        let place = Place::new();
        let _volume = Tmpfs::over(&place.svids, "size=8m,mode=0777");
        let by = REPLAYS[0];
        let publish = || {
            place.agent.rotate().unwrap();
            let fetched = fetch(&place);
            assert!(!fetched.contains("published earlier"), "{fetched}");
            place.agent.svid()
        };
        let (_, newer) = replay(&place.svids, by, publish);
        assert!(!fetch(&place).contains("published earlier"));
        assert_published(&place.svids, &newer);
        // The agent's is the one that is there.
        let set = current(&place.svids);
        assert!(fetch(&place).ends_with("(published earlier, and the newest)"));
        assert_eq!(current(&place.svids), set);
        // Without an agent there is nothing better.
        place.agent.stop(Stop::Terminate);
        let fetched = fetch(&place);
        assert!(fetched.ends_with("could not be asked whether it is the newest)"), "{fetched}");
        assert_published(&place.svids, &newer);
    });
}

#[test]
fn a38_run_does_not_begin_with_an_older_set_that_was_put_back() {
    with_mounts(|| {
        let place = Place::new();
        let _volume = Tmpfs::over(&place.svids, "size=8m,mode=0777");
        let publish = || {
            place.agent.rotate().unwrap();
            fetch(&place);
            place.agent.svid()
        };
        let (older, _) = replay(&place.svids, REPLAYS[1], publish);
        place.agent.stop(Stop::Terminate);
        let pgsvid = place.run();
        let judged = [OLDER, "set-adopted"];
        let told =
            pgsvid.wait_for_event(LIMIT, |event| judged.iter().any(|said| event["event"] == *said));
        assert_eq!(told["event"], OLDER);
        assert_eq!(told["path"], place.svids.join("..data").display().to_string());
        // PostgreSQL can start from it all the same.
        assert!(read(&place.svids) == contents(&older));
        place.agent.restart().unwrap();
        published(&pgsvid, 1);
        assert_published(&place.svids, &place.agent.svid());
    });
}

/// What `fetch` prints.
#[track_caller]
fn fetch(place: &Place) -> String {
    let mut arguments = place.arguments();
    "fetch".clone_into(&mut arguments[0]);
    let fetch = Program::spawn(PGSVID, arguments, &[]);
    assert!(fetch.wait_exit(LIMIT).success(), "{}", fetch.standard_error());
    fetch.standard_output()
}
