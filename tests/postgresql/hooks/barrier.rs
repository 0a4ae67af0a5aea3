//! H13: what waits for a hook, and for how long.

use std::time::Duration;

use test_support::{Mark, Setup};
use tokio::time::Instant;

use super::{PGSVID, command, configure, lines, place, script, told};

/// Which generation was published before the hook of the first one had ended.
fn published_meanwhile(more: &str) -> bool {
    let setup = Setup::new(PGSVID);
    let begun = setup.other.join("begun");
    let body = format!("echo $PGSVID_GENERATION >> {}; sleep 2", begun.display());
    configure(&setup, &[command("pooler", &script(&setup, "hook", &body), more)]);
    let pgsvid = setup.spawn();
    setup.wait_published();
    lines(&begun, 1);
    setup.agent.rotate().unwrap();
    let (first, _) = told(&pgsvid, Mark::default(), "hook-succeeded", "pooler");
    assert_eq!(first["generation"], 1);
    // Whatever has happened meanwhile, the newest set is followed by a run of its own.
    assert_eq!(lines(&begun, 2)[1], "2");
    let published = |it: &serde_json::Value| {
        let told = ["reload-pending", "still-not-in-force"]
            .contains(&it["event"].as_str().unwrap_or_default());
        told && it["generation"] == 2
    };
    pgsvid.wait_for_event(test_support::LIMIT, published);
    let succeeded = |it: &serde_json::Value| it["event"] == "hook-succeeded";
    place(&pgsvid, published) < place(&pgsvid, succeeded)
}

#[test]
fn h13_the_next_set_waits_for_a_hook_that_is_part_of_the_barrier() {
    assert!(!published_meanwhile("barrier = true"));
}

#[test]
fn h13_the_next_set_does_not_wait_for_any_other_hook() {
    assert!(published_meanwhile(""));
}

#[test]
fn h13_a_hook_that_hangs_holds_the_next_set_back_for_ten_seconds_at_most() {
    let setup = Setup::new(PGSVID);
    let begun = setup.other.join("begun");
    let body = format!("echo begun >> {}; exec sleep 600", begun.display());
    let more = "barrier = true\ntimeout = '10m'";
    configure(&setup, &[command("pooler", &script(&setup, "hook", &body), more)]);
    let pgsvid = setup.start();
    lines(&begun, 1);
    let asked = Instant::now();
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}
