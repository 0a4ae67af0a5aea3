use std::time::Duration;

use super::*;

const GRACE: Duration = Duration::from_secs(10);
const TERM: i32 = 15;
const INT: i32 = 2;
const USR1: i32 = 10;
const ONE: SetSum = [1; 32];
const TWO: SetSum = [2; 32];
const THREE: SetSum = [3; 32];

fn settings(on_rotation: OnRotation) -> Settings {
    Settings {
        begins: 2,
        timeout: Duration::from_secs(60),
        on_rotation,
        grace: GRACE,
        environment: Vec::new(),
    }
}

/// One that waits for the first set.
fn waiting(on_rotation: OnRotation) -> (Course, Instant) {
    let now = Instant::now();
    let mut course = Course::new(now);
    assert!(course.fix(&settings(on_rotation)));
    (course, now)
}

/// One whose application runs with the set [`ONE`].
fn running(on_rotation: OnRotation) -> (Course, Instant) {
    let (mut course, now) = waiting(on_rotation);
    assert_eq!(course.ready(ONE), Some(Step::Start));
    (course, now)
}

#[test]
fn j01_the_status_of_the_application_is_that_of_all() {
    for (code, signal, status) in [
        (Some(0), None, 0),
        (Some(7), None, 7),
        (Some(255), None, 255),
        (None, Some(9), 137),
        (None, Some(15), 143),
        (None, Some(64), 192),
    ] {
        let (mut course, _) = running(OnRotation::Restart);
        assert_eq!(course.status(), None);
        assert_eq!(course.ended(code, signal), None);
        assert_eq!(course.status(), Some(status));
    }
}

#[test]
fn j04_without_a_set_in_time_it_gives_up() {
    let (mut course, now) = waiting(OnRotation::Nothing);
    let limit = now + Duration::from_secs(60);
    assert_eq!(course.next(), Some(limit));
    assert_eq!(course.on_time(limit - Duration::from_millis(1)), None);
    assert_eq!(course.on_time(limit), Some(Step::GiveUp));
    assert_eq!(course.status(), Some(NO_SET));
    // A set that comes later starts nothing.
    assert_eq!(course.ready(ONE), None);
}

#[test]
fn j03_a_signal_before_the_first_set_ends_all_and_starts_nothing() {
    for signal in [TERM, INT, 1, 3] {
        let (mut course, _) = waiting(OnRotation::Nothing);
        assert!(!course.signalled(USR1) && course.status().is_none());
        assert!(!course.signalled(signal));
        assert_eq!(course.status(), u8::try_from(128 + signal).ok());
        assert_eq!(course.ready(ONE), None);
    }
}

#[test]
fn j09_each_set_restarts_the_application_once() {
    let (mut course, now) = running(OnRotation::Restart);
    // A daemon that was replaced asks again for the same set.
    assert_eq!(course.rotated(ONE, now), Err(End::NotNeeded));
    assert_eq!(course.rotated(TWO, now), Ok(Step::Stop));
    assert!(course.is_stopping());
    assert_eq!(course.rotated(THREE, now), Err(End::Busy));
    assert_eq!(course.next(), Some(now + GRACE));
    assert_eq!(course.on_time(now + GRACE), Some(Step::Kill));
    assert_eq!(course.on_time(now + 2 * GRACE), None, "once");
    assert_eq!(course.ended(None, Some(9)), Some(Step::Start));
    assert_eq!(course.rotated(TWO, now + GRACE), Err(End::NotNeeded));
    assert_eq!(course.rotated(THREE, now + GRACE), Ok(Step::Stop));
    assert_eq!(course.ended(Some(0), None), Some(Step::Start));
    assert_eq!(course.status(), None);
}

#[test]
fn j09_sets_without_end_do_not_restart_it_without_end() {
    let (mut course, now) = running(OnRotation::Restart);
    assert_eq!(course.rotated(TWO, now), Ok(Step::Stop));
    assert_eq!(course.ended(Some(0), None), Some(Step::Start));
    assert_eq!(course.rotated(THREE, now + SHORTEST / 2), Err(End::Busy));
    assert_eq!(course.rotated(THREE, now + SHORTEST), Ok(Step::Stop));
}

#[test]
fn j09_a_set_is_announced_by_the_signal_or_not_at_all() {
    let (mut course, now) = running(OnRotation::Signal(USR1));
    assert_eq!(course.rotated(TWO, now), Ok(Step::Tell(USR1)));
    assert_eq!(course.rotated(TWO, now + GRACE), Err(End::NotNeeded));
    assert!(!course.is_stopping());
    let (mut course, now) = running(OnRotation::Nothing);
    assert_eq!(course.rotated(TWO, now), Err(End::NotNeeded));
}

#[test]
fn j10_asked_to_end_during_a_restart_it_is_not_started_again() {
    for (signal, again) in [(TERM, false), (INT, false), (1, true), (USR1, true)] {
        let (mut course, now) = running(OnRotation::Restart);
        assert_eq!(course.rotated(TWO, now), Ok(Step::Stop));
        assert!(course.signalled(signal), "it is passed on");
        let step = course.ended(Some(0), None);
        assert_eq!((step == Some(Step::Start), course.status()), (again, (!again).then_some(0)));
    }
    // Its sender decides how long it may take.
    let (mut course, now) = running(OnRotation::Restart);
    assert_eq!(course.rotated(TWO, now), Ok(Step::Stop));
    assert!(course.signalled(TERM));
    assert_eq!(course.on_time(now + 2 * GRACE), None);
}

#[test]
fn j10_asked_to_end_before_it_is_neither_restarted_nor_signalled() {
    for on_rotation in [OnRotation::Restart, OnRotation::Signal(USR1)] {
        let (mut course, now) = running(on_rotation);
        assert!(course.signalled(TERM));
        assert_eq!(course.rotated(TWO, now), Err(End::NotNeeded));
        assert_eq!(course.ended(Some(3), None), None);
        assert_eq!(course.status(), Some(3));
    }
}

#[test]
fn j11_the_settings_of_the_first_daemon_stay() {
    let (mut course, _) = waiting(OnRotation::Restart);
    assert!(!course.fix(&settings(OnRotation::Nothing)));
    assert_eq!(course.settings(), Some(&settings(OnRotation::Restart)));
    assert!(course.fix(&settings(OnRotation::Restart)));
}

#[test]
fn j11_nothing_is_started_before_the_settings_have_come() {
    let mut course = Course::new(Instant::now());
    assert_eq!(course.ready(ONE), None);
    assert_eq!(course.rotated(TWO, Instant::now()), Err(End::Unknown));
    assert_eq!((course.next(), course.status()), (None, None));
}
