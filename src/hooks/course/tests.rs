//! A hook in random schedules, and in single steps.

use std::path::PathBuf;

use proptest::prelude::*;

use super::super::Action;
use super::*;

fn course(when: When) -> Course {
    Course::new(&Hook {
        name: "hook".to_owned(),
        action: Action::Command(vec!["/bin/true".to_owned()]),
        when,
        timeout: Duration::from_secs(30),
        barrier: false,
        user: None,
        environment: Vec::new(),
        directory: PathBuf::from("/svids"),
        number: Some(0),
    })
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Published,
    Again,
    Proven,
    Distrust,
    Ended(bool),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Published),
        Just(Event::Again),
        Just(Event::Proven),
        Just(Event::Distrust),
        any::<bool>().prop_map(Event::Ended),
        (0u64..70_000).prop_map(Event::Wait),
    ]
}

/// Begins whatever is due, and says for which set.
fn turn(course: &mut Course, token: &mut u32, now: Instant) -> Option<u64> {
    let due = course.due(now).is_some_and(|due| due <= now) && !course.is_running();
    let run = course.begin(*token + 1, now);
    assert_eq!(run.is_some(), due, "what is due begins, and nothing else does");
    *token += u32::from(run.is_some());
    run.map(|run| run.generation)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h_no_schedule_loses_a_run_or_begins_one_too_early(
        proven in any::<bool>(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut course = course(if proven { When::Proven } else { When::Published });
        let (mut now, mut token, mut newest, mut proof) = (Instant::now(), 0, 0, None);
        // The set of the current run, and that of the last successful run since the set was last distrusted.
        let (mut running, mut done, mut last_begun) = (None, None, None);
        for event in events {
            match event {
                Event::Published => {
                    newest += 1;
                    course.published(newest);
                }
                Event::Again => course.published(newest),
                Event::Proven => {
                    proof = Some(newest);
                    course.proven(newest);
                }
                Event::Distrust => {
                    (proof, done) = (None, None);
                    if let Some(run) = &mut running { *run = None; }
                    course.distrust();
                }
                Event::Ended(well) => {
                    let end = if well { End::Exited(0) } else { End::Exited(1) };
                    let ended = course.ended(token, end, now);
                    prop_assert_eq!(ended.is_some(), running.is_some());
                    if let Some(set) = running.take() && well { done = set.or(done); }
                }
                Event::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
            }
            if let Some(set) = turn(&mut course, &mut token, now) {
                prop_assert!(running.is_none(), "never two at once");
                prop_assert_eq!(set, newest);
                prop_assert!(!proven || proof == Some(newest), "never before the proof");
                let soon = last_begun.is_some_and(|last| now < last + SHORTEST);
                prop_assert!(!soon, "the parent would refuse it");
                running = Some(Some(set));
                last_begun = Some(now);
            }
        }
        // In every schedule: once the newest set is proven and runs succeed, the last run was for it, and no run is due.
        course.published(newest);
        course.proven(newest);
        for _ in 0..4 {
            now += Duration::from_secs(61);
            if let Some(set) = turn(&mut course, &mut token, now) { running = Some(Some(set)); }
            course.ended(token, End::Exited(0), now);
            if let Some(set) = running.take() { done = set.or(done); }
        }
        prop_assert_eq!(done, Some(newest));
        prop_assert!(!course.is_pending() && course.due(now).is_none(), "it comes to rest");
    }
}

#[test]
fn h10_a_hook_that_waits_for_proof_begins_with_it_and_never_before() {
    let (mut course, now) = (course(When::Proven), Instant::now());
    course.published(1);
    assert_eq!((course.due(now), course.begin(1, now)), (None, None));
    assert!(course.waits_for_proof());
    course.published(2);
    // A proof of the previous set does not count.
    course.proven(1);
    assert_eq!(course.begin(1, now), None);
    course.proven(2);
    assert_eq!(course.begin(1, now).unwrap().generation, 2);
}

#[test]
fn failures_are_tried_again_after_longer_and_longer_pauses_and_reported_once() {
    let (mut course, mut now) = (course(When::Published), Instant::now());
    course.published(1);
    for token in 1..20 {
        course.begin(token, now).unwrap();
        let (_, delay, news) = course.ended(token, End::Exited(1), now).unwrap();
        assert_eq!(news, token == 1);
        assert!(delay.unwrap() <= AGAIN.1);
        now = course.due(now).unwrap();
    }
    // A new set does not wait for the retry of the one before.
    course.published(2);
    assert!(course.due(now).unwrap() <= now);
    course.begin(20, now).unwrap();
    assert!(course.ended(20, End::TimedOut, now).unwrap().2, "another end is news");
}

#[test]
fn a_run_without_an_answer_is_given_up_and_its_late_answer_is_ignored() {
    let (mut course, now) = (course(When::Published), Instant::now());
    course.published(1);
    let run = course.begin(1, now).unwrap();
    assert_eq!(course.overdue(now), None);
    let late = course.due(now).unwrap();
    assert_eq!(course.overdue(late), Some(run));
    assert!(course.ended(1, End::Unanswered, late).is_some());
    assert_eq!(course.ended(1, End::Exited(0), late), None);
    assert!(course.is_pending());
}
