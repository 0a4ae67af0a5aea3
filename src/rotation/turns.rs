//! What the loop does next. Every kind of work gets its turn, however much there is of another kind: an agent may send
//! identities endlessly, and others may change files endlessly.

use std::pin::pin;
use std::task::{Context, Poll};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Rotation;
use super::attempts::poll_ended;
use crate::source::{ExtraAuthorities, SourceState};
use crate::watching::Changes;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkKind {
    /// The source has news.
    Source,
    /// The source has ended.
    SourceEnded,
    /// Somebody requests everything again.
    Asked,
    /// Somebody has changed the published files.
    Files,
    /// Something has happened in the directories of the extra authorities.
    Authorities,
    /// A consumer's attempt has ended.
    Attempt,
    /// Something has changed in the directories of a consumer's files, while it does not serve the right set.
    Consumer,
    /// A hook's run has ended.
    Hook,
    /// A token was written.
    Token,
    /// A timer has run out.
    Timer,
}

/// The order in which work is looked for: the kind that had the last turn comes last.
pub(super) struct Turns([WorkKind; 9]);

impl Default for Turns {
    fn default() -> Self {
        use WorkKind::{Asked, Attempt, Authorities, Consumer, Files, Hook, Source, Timer, Token};
        Self([Attempt, Source, Asked, Files, Authorities, Consumer, Hook, Token, Timer])
    }
}

impl Turns {
    /// The first kind that is ready. Of those that stay ready, each gets a turn before one of them gets its next.
    fn poll(&mut self, mut look: impl FnMut(WorkKind) -> Poll<WorkKind>) -> Poll<WorkKind> {
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
    /// Waits for the next turn. Safe to cancel.
    pub(super) async fn next_turn(&mut self) -> WorkKind {
        let next = self.next_timer();
        self.pulse.rest(next);
        // Work that may bring the next set waits for consumers that load the one before.
        let opens = self.attempts.barrier.opens().unwrap_or(self.not_before);
        let not_before = self.not_before.max(opens);
        let look_after = not_before.max(self.quiet_until);
        let tried = !self.displaced && !self.holds_news_back();
        let (running, mut worth_a_try) = self.attempts.watch(tried);
        let mut source = pin!(changed_after(not_before, &mut self.source));
        let mut asked = pin!(asked_after(not_before, &self.again));
        let mut files = pin!(touched_after(look_after, &mut self.files));
        let mut authorities =
            pin!(changes_after(not_before.max(self.change_throttle.next()), &mut self.authorities));
        let mut timer = pin!(until(next));
        let mut token = pin!(counted(&mut self.tokens));
        let turns = &mut self.turns;
        let (ended, worth) = (&mut self.ended, &mut self.worth_a_try);
        let (hooks, answered) = (&mut self.hooks, &mut self.answered);
        let mut look = |turn, context: &mut Context<'_>| match turn {
            WorkKind::Attempt => poll_ended(running, context).map(|it| {
                *ended = Some(it);
                turn
            }),
            WorkKind::Source | WorkKind::SourceEnded => source.as_mut().poll(context),
            WorkKind::Asked => asked.as_mut().poll(context).map(|()| turn),
            WorkKind::Files => files.as_mut().poll(context).map(|()| turn),
            WorkKind::Authorities => authorities.as_mut().poll(context).map(|()| turn),
            WorkKind::Consumer => worth_a_try.poll(context).map(|at| {
                *worth = Some(at);
                turn
            }),
            WorkKind::Hook => hooks.poll(context).map(|answer| {
                *answered = Some(answer);
                turn
            }),
            WorkKind::Token => token.as_mut().poll(context).map(|()| turn),
            WorkKind::Timer => timer.as_mut().poll(context).map(|()| turn),
        };
        std::future::poll_fn(|context| turns.poll(|turn| look(turn, context))).await
    }

    /// Whether news waits for the barrier. Then no further attempt begins: each would delay the news again, and with several
    /// slow consumers there would be no end of it.
    pub(super) fn holds_news_back(&self) -> bool {
        let barrier = &self.attempts.barrier;
        let has_news = || self.source.has_changed().unwrap_or_default();
        barrier.is_waited_for() || (barrier.is_closed(Instant::now()) && has_news())
    }

    /// When a timer is due. Each is a point in time that no turn postpones.
    fn next_timer(&self) -> Option<Instant> {
        let again = self.publish_again.as_ref().map(|(at, _)| *at);
        let waits = self.attempts.barrier.is_waited_for();
        let postponed = waits.then(Instant::now);
        let opens = self.attempts.barrier.opens();
        let publish = [again, self.later, postponed].into_iter().flatten().min();
        let publish = publish.map(|at| opens.map_or(at, |opens| at.max(opens)));
        let look = match self.attempts.is_empty() {
            _ if self.displaced || self.holds_news_back() => None,
            true => Some(self.look_again),
            false => self.attempts.next(),
        };
        // Others may change the files so often that every check finds something, so checks keep this pause, too.
        let look = look.map(|at| at.max(self.not_before));
        let hooks = self.hooks.next(self.displaced);
        publish.into_iter().chain(look).chain(hooks).min()
    }
}

/// Waits for news from the source, but not before `moment`.
async fn changed_after(moment: Instant, source: &mut watch::Receiver<SourceState>) -> WorkKind {
    sleep_until(moment).await;
    source.changed().await.map_or(WorkKind::SourceEnded, |()| WorkKind::Source)
}

/// Waits until somebody requests everything again, but not before `moment`: each reload wakes every backend.
async fn asked_after(moment: Instant, again: &Notify) {
    sleep_until(moment).await;
    again.notified().await;
}

/// Waits for a change in the directories of the extra authorities, but not before `moment`.
async fn changes_after(moment: Instant, authorities: &mut ExtraAuthorities) {
    sleep_until(moment).await;
    authorities.changed().await;
}

/// Waits until somebody changes the published files, but not before `moment`: another program that keeps changing them must
/// not cause a busy loop.
async fn touched_after(moment: Instant, files: &mut Changes) {
    sleep_until(moment).await;
    files.changed().await;
}

/// Waits until another token was written. Without tokens, or once their task has ended, this waits for ever.
async fn counted(written: &mut Option<watch::Receiver<u64>>) {
    if let Some(written) = written
        && written.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Waits until `moment`, or for ever if it is `None`.
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
    fn a88_every_ready_kind_of_work_gets_a_turn_before_any_gets_its_second() {
        let all = Turns::default().0;
        for ready in 1u32..1 << all.len() {
            let is_ready = |turn: WorkKind| {
                let at = all.iter().position(|one| *one == turn).unwrap();
                if ready & (1 << at) == 0 { Poll::Pending } else { Poll::Ready(turn) }
            };
            let mut turns = Turns::default();
            // Let some turns pass, so that the order has changed.
            for _ in 0..ready {
                let _ = turns.poll(is_ready);
            }
            let count = ready.count_ones() as usize;
            let mut had: Vec<WorkKind> = Vec::new();
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
