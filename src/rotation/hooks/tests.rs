//! Hooks in the loop, in paused time: a parent that answers what the test says.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::tests::Running;
use super::*;
use crate::consumers::delivery::Asked;
use crate::consumers::fake::Behaviour;
use crate::hooks::{Action, When};
use crate::verify::Verdict;

const SOON: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(90);

/// A loop with hooks, and the parent of its daemon.
struct Parent {
    loop_: Running,
    asked: mpsc::UnboundedReceiver<Request>,
    answers: mpsc::UnboundedSender<Answer>,
}

fn hook(name: &str, number: u8, when: When, barrier: bool) -> Hook {
    Hook {
        name: name.to_owned(),
        action: Action::Command(vec!["/bin/true".to_owned()]),
        when,
        timeout: Duration::from_secs(30),
        barrier,
        user: None,
        environment: Vec::new(),
        directory: PathBuf::from("/svids"),
        number: Some(number),
    }
}

impl Parent {
    fn start(consumers: usize, hooks: Vec<Hook>) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        let (answers, received) = mpsc::unbounded_channel();
        let ask = Box::new(move |request: &Request| ask.send(*request).is_ok());
        let line = Line { ask, answers: received };
        let directory = tempfile::tempdir().unwrap();
        let loop_ = Running::start_with(directory, consumers, hooks, Some(line));
        Self { loop_, asked, answers }
    }

    /// The next run that is asked for, within a time.
    async fn next(&mut self, limit: Duration) -> Option<Request> {
        timeout(limit, self.asked.recv()).await.ok().flatten()
    }

    fn answer(&self, request: Request, end: End) {
        self.answers.send(Answer::plain(request.token, end)).unwrap();
    }
}

fn failing(verdict: Verdict) -> Behaviour {
    Behaviour { asked: Asked::Yes, verdict, takes: Duration::ZERO }
}

#[tokio::test(start_paused = true)]
async fn h10_a_hook_that_waits_for_proof_waits_for_every_server_and_for_this_very_set() {
    let proven = hook("after", 0, When::Proven, false);
    let mut parent = Parent::start(2, vec![proven, hook("now", 1, When::Published, false)]);
    parent.loop_.behave(1, failing(Verdict::StillOld));
    parent.loop_.issue();
    let first = parent.next(SOON).await.unwrap();
    assert_eq!((first.number, first.generation), (1, 1));
    parent.answer(first, End::Exited(0));
    assert_eq!(parent.next(LONG).await, None, "one of two servers is proven");
    // A server that cannot be verified is not proven to serve the set.
    parent.loop_.behave(1, failing(Verdict::Unverifiable));
    assert_eq!(parent.next(LONG).await, None);
    let hooks = parent.loop_.status.borrow().hooks.clone();
    assert_eq!((hooks[0].waits_for_proof, hooks[0].pending, hooks[1].pending), (true, true, false));
    parent.loop_.behave(1, Behaviour::WELL);
    let after = parent.next(2 * 300 * SOON).await.unwrap();
    assert_eq!((after.number, after.generation), (0, 1));
    parent.answer(after, End::Exited(0));

    // The proof of the first set is no proof of the next one.
    parent.loop_.behave(0, failing(Verdict::StillOld));
    parent.loop_.issue();
    let now = parent.next(SOON).await.unwrap();
    assert_eq!((now.number, now.generation), (1, 2));
    parent.answer(now, End::Exited(0));
    assert_eq!(parent.next(LONG).await, None);
    parent.loop_.end().await;
}

#[tokio::test(start_paused = true)]
async fn h13_the_next_set_waits_for_the_barrier_ten_seconds_at_most_and_for_nothing_else() {
    for (barrier, ended) in [(true, true), (true, false), (false, false)] {
        let mut parent = Parent::start(1, vec![hook("pooler", 0, When::Published, barrier)]);
        parent.loop_.issue();
        let first = parent.next(SOON).await.unwrap();
        sleep(SOON).await;
        parent.loop_.issue();
        sleep(3 * SOON).await;
        assert_eq!(parent.loop_.generation(), if barrier { 1 } else { 2 });
        if ended {
            parent.answer(first, End::Exited(0));
            sleep(SOON).await;
            assert_eq!(parent.loop_.generation(), 2);
        } else if barrier {
            sleep(7 * SOON).await;
            assert_eq!(parent.loop_.generation(), 2);
        }
        if !ended {
            // Two runs of one hook never overlap.
            assert_eq!(parent.next(SOON).await, None);
            parent.answer(first, End::TimedOut);
        }
        // The pause after a failure is drawn by lot, up to a second.
        assert_eq!(parent.next(2 * SOON).await.unwrap().generation, 2);
        drop(parent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_is_tried_again_and_degrades_until_it_succeeds() {
    let mut parent = Parent::start(1, vec![hook("pooler", 0, When::Published, false)]);
    parent.loop_.issue();
    for _ in 0..5 {
        let run = parent.next(LONG).await.unwrap();
        parent.answer(run, End::Exited(7));
        sleep(Duration::from_millis(1)).await;
        let status = parent.loop_.status.borrow().clone();
        let readiness = status.readiness(timing::now());
        assert!(readiness.is_ready() && readiness.degraded.len() == 1, "{readiness:?}");
    }
    // A run that is never answered does not block the next one for ever.
    parent.next(LONG).await.unwrap();
    let run = parent.next(LONG + LONG).await.unwrap();
    parent.answer(run, End::Exited(0));
    sleep(Duration::from_millis(1)).await;
    let status = parent.loop_.status.borrow().clone();
    assert!(status.readiness(timing::now()).degraded.is_empty());
    let known = &status.hooks[0];
    assert_eq!((known.completed, known.failed, known.pending), (1, 6, false));
    // Then no further run is requested.
    assert_eq!(parent.next(100 * LONG).await, None);
    parent.loop_.end().await;
}

#[tokio::test(start_paused = true)]
async fn h12_a_hook_that_the_parent_does_not_know_is_never_asked_for() {
    let unknown = Hook { number: None, ..hook("changed", 0, When::Published, true) };
    let mut parent = Parent::start(1, vec![unknown, hook("kept", 0, When::Published, false)]);
    parent.loop_.issue();
    let run = parent.next(SOON).await.unwrap();
    parent.answer(run, End::Exited(0));
    assert_eq!(parent.next(LONG).await, None);
    let status = parent.loop_.status.borrow().clone();
    assert_eq!(status.hooks[0].findings[0].code.name(), "hook-changed");
    assert!(!status.readiness(timing::now()).degraded.is_empty());
    parent.loop_.issue();
    assert_eq!(parent.next(SOON).await.unwrap().generation, 2);
    parent.loop_.end().await;
}
