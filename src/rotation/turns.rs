//! What the loop does next. Whatever there is to do gets its turn, however much there is of something else: an agent may send
//! identities without end, and others may change files without end.

use std::pin::pin;
use std::task::{Context, Poll};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Rotation;
use super::attempts::poll_ended;
use crate::source::{ExtraAuthorities, SourceState};
use crate::watching::Changes;

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The source has news.
    Source,
    /// The source has ended.
    SourceEnded,
    /// Somebody asks for everything again.
    Asked,
    /// Somebody has touched the published files.
    Files,
    /// Something has happened where the extra authorities are.
    Authorities,
    /// A consumer's attempt has ended.
    Attempt,
    /// Something has changed where a consumer's files are, while it does not serve what it should.
    Consumer,
    /// A timer has run out.
    Timer,
}

/// In which order they are looked for: the one that had the last turn comes last.
pub(super) struct Turns([Turn; 7]);

impl Default for Turns {
    fn default() -> Self {
        use Turn::{Asked, Attempt, Authorities, Consumer, Files, Source, Timer};
        Self([Attempt, Source, Asked, Files, Authorities, Consumer, Timer])
    }
}

impl Turns {
    /// The first that is ready: of those that stay ready, each has a turn before one of them has its next.
    fn poll(&mut self, mut look: impl FnMut(Turn) -> Poll<Turn>) -> Poll<Turn> {
        for at in 0..self.0.len() {
            if let Poll::Ready(turn) = look(self.0[at]) {
                self.0[at..].rotate_left(1);
                return Poll::Ready(turn);
            }
        }
        Poll::Pending
    }
}

impl Rotation {
    /// Waits for the next turn. May be cancelled without loss.
    pub(super) async fn next_turn(&mut self) -> Turn {
        let next = self.next_timer();
        self.pulse.rest(next);
        // What may bring the next set waits for consumers that load the one before.
        let opens = self.attempts.barrier.opens().unwrap_or(self.not_before);
        let not_before = self.not_before.max(opens);
        let look_after = not_before.max(self.quiet_until);
        let tried = !self.displaced && !self.attempts.barrier.is_waited_for();
        let (running, mut worth_a_try) = self.attempts.watch(tried);
        let mut source = pin!(changed_after(not_before, &mut self.source));
        let mut asked = pin!(asked_after(not_before, &self.again));
        let mut files = pin!(touched_after(look_after, &mut self.files));
        let mut authorities = pin!(changes_after(not_before, &mut self.authorities));
        let mut timer = pin!(until(next));
        let turns = &mut self.turns;
        let (ended, worth) = (&mut self.ended, &mut self.worth_a_try);
        let mut look = |turn, context: &mut Context<'_>| match turn {
            Turn::Attempt => poll_ended(running, context).map(|it| {
                *ended = Some(it);
                turn
            }),
            Turn::Source | Turn::SourceEnded => source.as_mut().poll(context),
            Turn::Asked => asked.as_mut().poll(context).map(|()| turn),
            Turn::Files => files.as_mut().poll(context).map(|()| turn),
            Turn::Authorities => authorities.as_mut().poll(context).map(|()| turn),
            Turn::Consumer => worth_a_try.poll(context).map(|at| {
                *worth = Some(at);
                turn
            }),
            Turn::Timer => timer.as_mut().poll(context).map(|()| turn),
        };
        std::future::poll_fn(|context| turns.poll(|turn| look(turn, context))).await
    }

    /// When there is something to do although nothing has happened. Each is a moment that no turn puts off.
    fn next_timer(&self) -> Option<Instant> {
        let again = self.publish_again.as_ref().map(|(at, _)| *at);
        let waits = self.attempts.barrier.is_waited_for();
        let postponed = waits.then(Instant::now);
        let opens = self.attempts.barrier.opens();
        let publish = [again, self.later, postponed].into_iter().flatten().min();
        let publish = publish.map(|at| opens.map_or(at, |opens| at.max(opens)));
        let look = match self.attempts.is_empty() {
            _ if self.displaced || waits => None,
            true => Some(self.look_again),
            false => self.attempts.next(),
        };
        // Others may make each look find something.
        let look = look.map(|at| at.max(self.not_before));
        publish.into_iter().chain(look).min()
    }
}

/// Waits for news of the source, but not before `moment`.
async fn changed_after(moment: Instant, source: &mut watch::Receiver<SourceState>) -> Turn {
    sleep_until(moment).await;
    source.changed().await.map_or(Turn::SourceEnded, |()| Turn::Source)
}

/// Waits until somebody asks for everything again, but not before `moment`: each reload wakes every backend.
async fn asked_after(moment: Instant, again: &Notify) {
    sleep_until(moment).await;
    again.notified().await;
}

/// Waits for a change where the extra authorities are, but not before `moment`.
async fn changes_after(moment: Instant, authorities: &mut ExtraAuthorities) {
    sleep_until(moment).await;
    authorities.changed().await;
}

/// Waits until somebody touches the published files, but not before `moment`: whoever fights us for them must not
/// make us spin.
async fn touched_after(moment: Instant, files: &mut Changes) {
    sleep_until(moment).await;
    files.changed().await;
}

/// Waits until then, and for ever if there is no such moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a88_whatever_is_ready_has_a_turn_before_another_has_its_next() {
        let all = Turns::default().0;
        for ready in 1u32..1 << all.len() {
            let is_ready = |turn: Turn| {
                let at = all.iter().position(|one| *one == turn).unwrap();
                if ready & (1 << at) == 0 { Poll::Pending } else { Poll::Ready(turn) }
            };
            let mut turns = Turns::default();
            // Whatever was before.
            for _ in 0..ready {
                let _ = turns.poll(is_ready);
            }
            let count = ready.count_ones() as usize;
            let mut had: Vec<Turn> = Vec::new();
            for _ in 0..count {
                let Poll::Ready(turn) = turns.poll(is_ready) else { panic!("{ready}") };
                assert!(!had.contains(&turn), "{turn:?} again after {had:?}");
                had.push(turn);
            }
        }
        assert!(Turns::default().poll(|_| Poll::Pending).is_pending());
    }

    #[test]
    fn a88_what_becomes_ready_waits_for_each_of_the_others_once_at_most() {
        let all = Turns::default().0;
        for late in all {
            let mut turns = Turns::default();
            let others = |turn| if turn == late { Poll::Pending } else { Poll::Ready(turn) };
            for _ in 0..all.len() {
                let _ = turns.poll(others);
            }
            let place = (0..all.len()).find(|_| turns.poll(Poll::Ready) == Poll::Ready(late));
            assert!(place.is_some(), "{late:?}");
        }
    }
}
