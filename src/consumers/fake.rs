//! A consumer that does what a test says.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::delivery::{Asked, Obstacle};
use super::problem::Problem;
use super::trouble::{Trouble, Weight};
use super::{Attempt, Delivery, Publication};
use crate::sql;
use crate::status::Pulse;
use crate::verify::Verdict;

/// How the fake consumer behaves from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behaviour {
    /// Whether it can be asked to reload.
    pub(crate) asked: Asked,
    /// The verdict of a check.
    pub(crate) verdict: Verdict,
    /// How long an attempt takes.
    pub(crate) takes: Duration,
}

impl Behaviour {
    /// Everything works, at once.
    pub(crate) const WELL: Self =
        Self { asked: Asked::Yes, verdict: Verdict::Current, takes: Duration::ZERO };
}

/// What was done to the fake consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Reload,
    Look,
}

/// One call: what, when, and which generation was published.
pub(crate) type Call = (Done, u64, Instant);

pub(crate) struct Fake {
    pub(crate) behaviour: watch::Receiver<Behaviour>,
    pub(crate) calls: mpsc::UnboundedSender<Call>,
    pub(crate) pulse: Pulse,
}

impl Fake {
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        let leaf = publication.material.leaf().fingerprint();
        let features = (leaf, Vec::new(), std::iter::empty().collect());
        delivery.begin(&features, is_new);
        self.pulse.step("asking a fake", Duration::from_secs(5));
        let Behaviour { asked, verdict, takes } = *self.behaviour.borrow();
        let generation = publication.generation;
        let now = Instant::now();
        if asked == Asked::Yes && !delivery.is_at_rest() && delivery.should_reload(false, now) {
            delivery.reloaded(now);
            let _ = self.calls.send((Done::Reload, generation, now));
        }
        sleep(takes).await;
        let _ = self.calls.send((Done::Look, generation, Instant::now()));
        let error = match asked {
            Asked::Yes => None,
            Asked::NotYet => Some(sql::Error::NotRunning),
            Asked::Refused => Some(sql::Error::Forbidden),
        };
        Attempt::scripted(leaf, verdict, error)
    }
}

/// What keeps its set from being in force.
pub(super) fn trouble(attempt: &Attempt) -> (Trouble, Obstacle) {
    let verdict = attempt.verdict;
    let slow = attempt.shown().asked == Asked::Refused;
    let pending = attempt.shown().asked == Asked::NotYet;
    let problem = Problem { sentence: verdict.to_string(), pending, ..Problem::default() };
    let obstacle = Obstacle { key: format!("{:?}", attempt.shown()), slow, alarm: !pending };
    let weight = if pending { Weight::Pending } else { Weight::Alarm };
    (Trouble { verdict, problem, weight }, obstacle)
}
