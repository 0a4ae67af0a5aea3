//! When a consumer is asked to reload, when it is looked at again, and what of that is news.
//!
//! Pure: it is told what has happened and what time it is, and does nothing itself. Each kind of consumer asks it what to do.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::timing::Backoff;
use crate::verify::Verdict;

/// First and longest back-off where waiting is enough.
const SOON: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// The same where somebody has to fix something that we cannot watch.
const SLOWLY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A reload applies pending edits of the operator's and wakes every backend: without news there is none sooner.
const RELOAD_AGAIN: Duration = Duration::from_secs(300);
/// Shortest pause after a change in a watched directory, which others may use, too.
const SETTLE: Duration = Duration::from_millis(50);
/// Attempts that a change brought about double the pause until the next one so often: 3.2 seconds at most.
const DOUBLINGS: u32 = 6;
/// How many different obstacles are remembered as having been told.
const TOLD: usize = 8;
/// How many sets are remembered that may have been read. After more of them only a reload of ours is proof.
const READ: usize = 64;

/// What is still owed to the consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Nothing,
    /// The set is in force as far as a look can show, and the consumer was never asked to read it. A look shows names alone of
    /// some authorities, so it is asked when it can be.
    Asking,
    /// A set was published, and no reload has followed yet.
    Reload,
    /// The same, and no look at the consumer can show that it has read the set: only a reload of ours can.
    ReloadAsProof,
}

/// How the last attempt ended.
#[derive(Debug)]
enum Standing {
    /// There was none yet.
    New,
    /// Nothing is left to be done until the next look is due.
    Settled,
    /// To be tried again.
    Trying { backoff: Backoff, slow: bool },
}

/// Whether the consumer could be asked to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It could be; whether it was is what [`Delivery::reloaded`] says.
    Yes,
    /// It could not be, and waiting is enough.
    NotYet,
    /// It could not be, and somebody has to fix something.
    Refused,
}

/// What an attempt has shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) verdict: Verdict,
    pub(crate) asked: Asked,
}

/// Why the published set is not proven to be in force, as far as it matters for when to try again.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// Tells one from the next; free of times.
    pub(crate) key: String,
    /// Whether somebody has to fix something that we cannot watch.
    pub(crate) slow: bool,
    /// Whether somebody has to be told.
    pub(crate) alarm: bool,
}

/// Whether an obstacle was told already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Never,
    ForAnotherGeneration,
    Before,
}

/// One consumer's way to the published set. `F` is what a look tells one set from another by.
pub(crate) struct Delivery<F> {
    /// How often a settled consumer is looked at.
    every: Duration,
    owed: Owed,
    standing: Standing,
    next: Option<Instant>,
    /// When it was last asked to reload.
    reloaded: Option<Instant>,
    /// The set was published since the last attempt.
    fresh: bool,
    /// Between tries to ask a consumer that serves what it should, but was never asked.
    ask_again: Backoff,
    verdict: Option<Verdict>,
    /// The obstacles that were told since a set was last in force: one may show itself in more than one way, in turns.
    told: Vec<String>,
    /// When something was first seen to have changed where the consumer's files are, since the last attempt.
    changed: Option<Instant>,
    /// How many attempts a change has brought about since a set was last published or in force.
    eager: u32,
    /// What a look would show of the sets that the consumer may have read: the last one that was in force, and those that
    /// were published since.
    may_have_read: Vec<F>,
}

impl<F: Clone + PartialEq> Delivery<F> {
    /// A consumer that has still to be asked; `as_proof` if no look shows whether it has read the set.
    pub(crate) fn new(every: Duration, as_proof: bool) -> Self {
        Self {
            every,
            owed: if as_proof { Owed::ReloadAsProof } else { Owed::Reload },
            standing: Standing::New,
            next: None,
            reloaded: None,
            fresh: false,
            ask_again: Backoff::new(SOON.0, SOON.1),
            verdict: None,
            told: Vec::new(),
            changed: None,
            eager: 0,
            may_have_read: Vec::new(),
        }
    }

    /// When the next attempt is due; `None` before the first.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether the published set was in force at the last look, and nothing is left to do.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Settled)
    }

    /// Whether the last attempt has to be repeated.
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.standing, Standing::Trying { .. })
    }

    /// Whether a published set is still to be followed by a reload.
    pub(crate) fn owes_reload(&self) -> bool {
        matches!(self.owed, Owed::Reload | Owed::ReloadAsProof)
    }

    /// Whether a look needs no session beside it.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_settled() && self.owed == Owed::Nothing
    }

    /// Whether the consumer is to be asked to reload in any case, news or not.
    pub(crate) fn is_owed(&self) -> bool {
        self.owed != Owed::Nothing
    }

    /// Whether the consumer serves what it should, and could never be asked to read it.
    pub(crate) fn was_never_asked(&self) -> bool {
        self.owed == Owed::Asking
    }

    /// Whether only a reload of ours proves that the set was read.
    pub(crate) fn needs_reload_as_proof(&self) -> bool {
        self.owed == Owed::ReloadAsProof
    }

    /// The consumer may have read something else than what is published: only a reload of ours counts.
    pub(crate) fn distrust(&mut self) {
        self.owed = Owed::ReloadAsProof;
        self.standing = Standing::New;
    }

    /// Something has changed where the consumer's files are.
    pub(crate) fn note_change(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// When to look because of a change since the last attempt, if there was one: an editor writes and renames, and others
    /// may work in the same directory without end.
    pub(crate) fn after_change(&self) -> Option<Instant> {
        self.changed.map(|at| at + SETTLE * 2u32.pow(self.eager.min(DOUBLINGS)))
    }

    /// Something has come to light that makes another attempt useful at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// The next attempt comes by then, if it was to come later.
    pub(crate) fn look_by(&mut self, moment: Option<Instant>) {
        if let (Some(next), Some(moment)) = (&mut self.next, moment) {
            *next = moment.min(*next);
        }
    }

    /// An attempt begins, of a set that was just published or of one that was tried before; `features` is what a look will
    /// show of it.
    pub(crate) fn begin(&mut self, features: &F, published: bool) {
        let because_of_change = self.changed.take().is_some();
        self.eager = if published { 0 } else { self.eager + u32::from(because_of_change) };
        self.fresh = published;
        let before = self.may_have_read.iter().position(|known| known == features);
        let is_full = self.may_have_read.len() >= READ;
        if published {
            // An authority may have a new key under its old name: a look would show the same before.
            if before.is_some() || is_full {
                self.owed = Owed::ReloadAsProof;
            } else if self.owed != Owed::ReloadAsProof {
                self.owed = Owed::Reload;
            }
        }
        if let Some(earliest) = before.or(is_full.then_some(0)) {
            self.may_have_read.remove(earliest);
        }
        self.may_have_read.push(features.clone());
    }

    /// Whether to ask for a reload now. `news` says that something is different from what it was at the last one.
    pub(crate) fn should_reload(&self, news: bool, now: Instant) -> bool {
        let is_due = || self.reloaded.is_none_or(|at| now.duration_since(at) >= RELOAD_AGAIN);
        self.owed != Owed::Nothing || (!self.is_settled() && (news || is_due()))
    }

    /// The consumer was asked to reload.
    pub(crate) fn reloaded(&mut self, now: Instant) {
        self.owed = Owed::Nothing;
        self.reloaded = Some(now);
    }

    /// Whether an attempt proves that the published set is in force, or shows all that can be shown.
    pub(crate) fn is_done(&self, shown: Shown) -> bool {
        let was_asked = shown.asked == Asked::Yes;
        match shown.verdict {
            // The look is the proof, however the reload went; unless it would have shown the same before.
            Verdict::Current => was_asked || self.owed != Owed::ReloadAsProof,
            Verdict::Unverifiable => was_asked,
            _ => false,
        }
    }

    /// An attempt that [`Self::is_done`] has ended; returns whether it has shown nothing new. `is_known` says that the
    /// consumer has been asked what it is set to.
    pub(crate) fn settle(&mut self, shown: Shown, is_known: bool, now: Instant) -> bool {
        let before = self.verdict.replace(shown.verdict);
        let routine = self.is_settled() && !self.fresh && before == self.verdict;
        let asked_before = matches!(self.owed, Owed::Nothing);
        self.owed =
            if shown.asked == Asked::Yes || asked_before || shown.verdict != Verdict::Current {
                Owed::Nothing
            } else {
                Owed::Asking
            };
        if shown.verdict == Verdict::Current {
            // The last one is that of this attempt.
            self.may_have_read.drain(..self.may_have_read.len().saturating_sub(1));
        }
        self.standing = Standing::Settled;
        self.told.clear();
        self.eager = 0;
        // One that could not be asked yet is asked as soon as it can be: it may have read less than it seems, and its settings
        // may lead elsewhere next time.
        let waits = !is_known || self.owed == Owed::Asking;
        let wait = if waits && shown.asked == Asked::NotYet {
            self.ask_again.delay().min(self.every)
        } else {
            self.every
        };
        self.next = Some(now + wait);
        routine
    }

    /// An attempt has ended that is to be repeated; returns after how long, and whether its obstacle was told before.
    pub(crate) fn retry(
        &mut self,
        verdict: Verdict,
        obstacle: Obstacle,
        now: Instant,
    ) -> (Duration, Told) {
        self.verdict = Some(verdict);
        let Obstacle { key, slow, alarm } = obstacle;
        let mut backoff = match std::mem::replace(&mut self.standing, Standing::New) {
            Standing::Trying { backoff, slow: before } if before == slow && !self.fresh => backoff,
            _ => {
                let (first, longest) = if slow { SLOWLY } else { SOON };
                Backoff::new(first, longest)
            }
        };
        let delay = backoff.delay();
        self.standing = Standing::Trying { backoff, slow };
        self.next = Some(now + delay);
        let told = match (self.told.contains(&key), self.fresh) {
            (false, _) => Told::Never,
            (true, true) => Told::ForAnotherGeneration,
            (true, false) => Told::Before,
        };
        if told == Told::Never {
            // An alarm after another is news, though it was raised before.
            if alarm {
                self.told.clear();
            }
            self.told.truncate(TOLD - 1);
            self.told.insert(0, key);
        }
        (delay, told)
    }
}
