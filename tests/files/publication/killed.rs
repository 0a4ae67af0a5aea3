//! D13: killed at any step of its work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use test_support::{LIMIT, Signal, eventually};

use crate::publication::place::{
    Done, Place, assert_published, contents, current, names, published, read,
};

#[test]
fn d13_killed_at_any_moment_it_leaves_a_whole_set_and_the_next_run_cleans_up() {
    let place = Place::new();
    for round in 0..20 {
        place.agent.rotate().unwrap();
        let pgsvid = place.run();
        pgsvid.wait_for_text(LIMIT, "identity received");
        eventually(LIMIT, "the newest set is there", || {
            place.svids.join("svid_bundle.pem").exists()
                && read(&place.svids) == contents(&place.agent.svid())
        });
        assert_eq!(names(&place.svids, "..tmp-"), [""; 0]);
        // Each of these publishes again, one right after the other.
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    pgsvid.signal(Signal::HUP);
                    thread::yield_now();
                }
            });
            let until = Done(&stop);
            let before = current(&place.svids);
            eventually(LIMIT, "it publishes", || current(&place.svids) != before);
            drop(until);
            spin(round);
            pgsvid.signal(Signal::KILL);
        });
        pgsvid.wait_exit(LIMIT);
        assert_published(&place.svids, &place.agent.svid());
    }
    let pgsvid = place.run();
    place.agent.rotate().unwrap();
    published(&pgsvid, 1);
    // It ends only after it has swept.
    assert!(pgsvid.terminate(LIMIT).success());
    assert_published(&place.svids, &place.agent.svid());
    assert_eq!(names(&place.svids, "..tmp-"), [""; 0]);
    for generation in names(&place.svids, "..v") {
        let files = names(&place.svids.join(&generation), "svid");
        assert_eq!(files.len(), 3, "{generation}: {files:?}");
    }
}

/// Different moments of a publication, without a wait that the machine's load would stretch.
fn spin(round: u32) {
    for _ in 0..round * 20_000 {
        std::hint::spin_loop();
    }
}
