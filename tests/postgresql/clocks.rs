//! C01, C04: the wall clock jumps while the timers' clock does not.

use std::fs;
use std::time::Duration;

use test_support::{LIMIT, Mark, Pgsvid, Setup, WallClock};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const DAY: i64 = 86_400;
/// libfaketime reads its file at each look at the clock, which the sandbox does not allow.
const UNSANDBOXED: &str = "[sandbox]\nenabled = false\n";
/// Where the kernel did not tell, it would take 20 seconds.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn c01_a_clock_that_leaps_by_a_day_either_way_is_followed_without_haste() {
    let setup = Setup::new(PGSVID);
    setup.configure(&format!("{UNSANDBOXED}[postgres]\nverify_every = '1s'"));
    let clock = WallClock::new();
    let pgsvid = start(&setup, &clock);
    let generation = fs::read_link(setup.files.join("..data")).unwrap();

    // Tomorrow the SVID has expired, whatever the timers say. What is published stays.
    clock.leap(DAY);
    let mark = leap(&pgsvid, Mark::default(), "1d forward");
    let (rejected, _) = pgsvid.event_after(mark, "message-rejected");
    assert!(rejected["reason"].as_str().unwrap().starts_with("the SVID expired at "), "{rejected}");
    let expired = "the published identity has expired: it is refused from now on";
    pgsvid.wait_for_event_after(Mark::default(), LIMIT, |event| event["message"] == expired);
    // By the timers.
    pgsvid.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "expired");

    clock.leap(0);
    // Verified by the timers, before or after the leap is noticed.
    pgsvid.event_after(mark, "rotated");
    let mark = leap(&pgsvid, mark, "1d back");
    pgsvid.event_after(mark, "message-accepted");

    // Yesterday it is not valid yet.
    clock.leap(-DAY);
    let mark = leap(&pgsvid, mark, "1d back");
    let (rejected, _) = pgsvid.event_after(mark, "message-rejected");
    assert!(
        rejected["reason"].as_str().unwrap().starts_with("the SVID is valid only from "),
        "{rejected}"
    );
    assert_eq!(fs::read_link(setup.files.join("..data")).unwrap(), generation);

    clock.leap(0);
    // What was not valid yet is asked for again by itself, before or after the leap is noticed.
    pgsvid.event_after(mark, "message-accepted");
    leap(&pgsvid, mark, "1d forward");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);

    // One connection for each leap, and perhaps one more for what was not valid yet; no loop, and no flood.
    let connections = setup.agent.activity().connections;
    assert!((5..=10).contains(&connections), "{connections} connections");
    let lines = pgsvid.lines().len();
    assert!(lines < 60, "{lines} lines");
}

#[test]
fn c04_a_machine_that_has_slept_for_hours_dials_on_waking() {
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let setup = Setup::builder(PGSVID).agent(|agent| agent.ttl(hours(12))).create();
    setup.configure(UNSANDBOXED);
    let clock = WallClock::new();
    let pgsvid = start(&setup, &clock);
    let before = setup.agent.activity().connections;
    let generation = fs::read_link(setup.files.join("..data")).unwrap();
    clock.leap(5 * 3600);
    let mark = leap(&pgsvid, Mark::default(), "5h forward");
    setup.agent.wait_until(LIMIT, |activity| activity.connections > before).unwrap();
    // The same SVID is not published again; a new one is.
    setup.agent.wait_until(LIMIT, |activity| activity.open_streams == 1).unwrap();
    assert_eq!(fs::read_link(setup.files.join("..data")).unwrap(), generation);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    let lines = pgsvid.lines_after(mark);
    let troubles = lines.iter().filter(|line| !line.contains("\"level\":\"INFO\""));
    assert_eq!(troubles.collect::<Vec<_>>(), [""; 0]);
}

fn start(setup: &Setup, clock: &WallClock) -> Pgsvid {
    let pgsvid = setup.spawn_with_clock(clock);
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    pgsvid
}

/// Waits until a leap is noticed.
#[track_caller]
fn leap(pgsvid: &Pgsvid, mark: Mark, by: &str) -> Mark {
    let (event, mark) =
        pgsvid.wait_for_event_after(mark, AT_ONCE, |event| event["event"] == "clock-changed");
    assert_eq!(event["by"], by, "{event}");
    mark
}
