//! Decides when a consumer is asked to reload, when it is checked again, and which results were already reported.
//!
//! It only decides: its inputs are events and the time, and the code of each kind of consumer carries out the decisions.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::timing::Backoff;
use crate::verify::Verdict;

/// First and longest back-off if waiting is enough.
const SOON: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// First and longest back-off if somebody must fix something that pgsvid cannot watch.
const SLOWLY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Shortest pause between two reloads if nothing has changed: a reload applies the operator's pending edits and wakes every
/// backend.
const RELOAD_AGAIN: Duration = Duration::from_secs(300);
/// Shortest pause after a change in a watched directory, because other programs may write there, too.
const SETTLE: Duration = Duration::from_millis(50);
/// How many times that pause is doubled at most, once for each attempt that a change has caused: 3.2 seconds.
const DOUBLINGS: u32 = 6;
/// How many different obstacles are stored as already reported.
const TOLD: usize = 8;
/// How many sets that the consumer may have read are stored. With more of them, only pgsvid's own reload is proof.
const READ: usize = 64;

/// What the consumer still needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingReload {
    Nothing,
    /// The set is in force as far as a check can show, but the consumer was never asked to read it. For some authorities a
    /// check only shows names, so the consumer is asked as soon as possible.
    Asking,
    /// A set was published, and no reload has followed yet.
    Reload,
    /// The same, and no check can show that the consumer has read the set: only pgsvid's own reload can.
    ReloadAsProof,
}

/// How the last attempt ended.
#[derive(Debug)]
enum LastAttempt {
    /// There was none yet.
    New,
    /// Nothing is left to do until the next check is due.
    Settled,
    /// It must be retried.
    Trying { backoff: Backoff, slow: bool },
}

/// Whether the consumer could be asked to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It could; [`Delivery::reloaded`] says whether it was.
    Yes,
    /// It could not, and waiting is enough.
    NotYet,
    /// It could not, and somebody must fix something.
    Refused,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) verdict: Verdict,
    pub(crate) asked: Asked,
}

/// Why the published set is not proven to be in force, as far as it affects the retry.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// Identifies the obstacle; contains no times.
    pub(crate) key: String,
    /// Whether somebody must fix something that pgsvid cannot watch.
    pub(crate) slow: bool,
    /// Whether it needs an alarm.
    pub(crate) alarm: bool,
}

/// Whether an obstacle was already reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlreadyReported {
    Never,
    ForAnotherGeneration,
    Before,
}

/// The delivery of the published set to one consumer. `F` are the features by which a check distinguishes sets.
pub(crate) struct Delivery<F> {
    /// How often a settled consumer is checked.
    every: Duration,
    pending_reload: PendingReload,
    standing: LastAttempt,
    next: Option<Instant>,
    /// When it was last asked to reload.
    reloaded: Option<Instant>,
    /// Whether the set was published since the last attempt.
    fresh: bool,
    /// Back-off for asking a consumer that serves the right set, but was never asked.
    ask_again: Backoff,
    verdict: Option<Verdict>,
    /// The obstacles reported since a set was last in force: several obstacles may appear alternately.
    told: Vec<String>,
    /// When a change in the directories of the consumer's files was first seen, since the last attempt.
    changed: Option<Instant>,
    /// How many attempts were caused by changes since a set was last published or in force.
    eager: u32,
    /// The features of the sets that the consumer may have read: the last one that was in force, and those published since.
    may_have_read: Vec<F>,
}

impl<F: Clone + PartialEq> Delivery<F> {
    /// A consumer that must still be asked to reload. `as_proof` means that no check can show whether it has read the set.
    pub(crate) fn new(every: Duration, as_proof: bool) -> Self {
        Self {
            every,
            pending_reload: if as_proof {
                PendingReload::ReloadAsProof
            } else {
                PendingReload::Reload
            },
            standing: LastAttempt::New,
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

    /// Whether the published set was in force at the last check, and nothing is left to do.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.standing, LastAttempt::Settled)
    }

    /// Whether the last attempt must be repeated.
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.standing, LastAttempt::Trying { .. })
    }

    /// Whether a published set has not been followed by a reload yet.
    pub(crate) fn owes_reload(&self) -> bool {
        matches!(self.pending_reload, PendingReload::Reload | PendingReload::ReloadAsProof)
    }

    /// Whether a check is only a handshake, without a session with the consumer.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_settled() && self.pending_reload == PendingReload::Nothing
    }

    /// Whether the consumer must be asked to reload in any case.
    pub(crate) fn is_owed(&self) -> bool {
        self.pending_reload != PendingReload::Nothing
    }

    /// Whether the consumer serves the right set, but could never be asked to read it.
    pub(crate) fn was_never_asked(&self) -> bool {
        self.pending_reload == PendingReload::Asking
    }

    /// Whether only pgsvid's own reload proves that the set was read.
    pub(crate) fn needs_reload_as_proof(&self) -> bool {
        self.pending_reload == PendingReload::ReloadAsProof
    }

    /// Records that the consumer may have read something else than the published set: from now on only pgsvid's own reload is
    /// proof.
    pub(crate) fn distrust(&mut self) {
        self.pending_reload = PendingReload::ReloadAsProof;
        self.standing = LastAttempt::New;
    }

    /// Records that something has changed in the directories of the consumer's files.
    pub(crate) fn note_change(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// When to check because of a change since the last attempt, if there was one. The check waits a moment, because an editor
    /// writes and then renames a file, and other programs may change the same directory all the time.
    pub(crate) fn after_change(&self) -> Option<Instant> {
        self.changed.map(|at| at + SETTLE * 2u32.pow(self.eager.min(DOUBLINGS)))
    }

    /// Makes another attempt due at once, because of new information.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// Makes the next attempt due at this time, unless it is due earlier.
    pub(crate) fn look_by(&mut self, moment: Option<Instant>) {
        if let (Some(next), Some(moment)) = (&mut self.next, moment) {
            *next = moment.min(*next);
        }
    }

    /// Begins an attempt, with a set that was just published or was tried before. `features` are what a check can show of the
    /// set.
    pub(crate) fn begin(&mut self, features: &F, published: bool) {
        let because_of_change = self.changed.take().is_some();
        self.eager = if published { 0 } else { self.eager + u32::from(because_of_change) };
        self.fresh = published;
        let before = self.may_have_read.iter().position(|known| known == features);
        let is_full = self.may_have_read.len() >= READ;
        if published {
            // A check cannot distinguish this set from an earlier one: an authority may have a new key under its old name.
            if before.is_some() || is_full {
                self.pending_reload = PendingReload::ReloadAsProof;
            } else if self.pending_reload != PendingReload::ReloadAsProof {
                self.pending_reload = PendingReload::Reload;
            }
        }
        if let Some(earliest) = before.or(is_full.then_some(0)) {
            self.may_have_read.remove(earliest);
        }
        self.may_have_read.push(features.clone());
    }

    /// Whether to request a reload now. `news` means that something has changed since the last one.
    pub(crate) fn should_reload(&self, news: bool, now: Instant) -> bool {
        let is_due = || self.reloaded.is_none_or(|at| now.duration_since(at) >= RELOAD_AGAIN);
        self.pending_reload != PendingReload::Nothing || (!self.is_settled() && (news || is_due()))
    }

    /// Records that the consumer was asked to reload.
    pub(crate) fn reloaded(&mut self, now: Instant) {
        self.pending_reload = PendingReload::Nothing;
        self.reloaded = Some(now);
    }

    /// Whether an attempt proves that the published set is in force, or shows all that can be shown.
    pub(crate) fn is_done(&self, shown: Shown) -> bool {
        let was_asked = shown.asked == Asked::Yes;
        match shown.verdict {
            // The check is the proof, even if the reload failed, unless a check of an earlier set would have shown the same.
            Verdict::Current => was_asked || self.pending_reload != PendingReload::ReloadAsProof,
            Verdict::Unverifiable => was_asked,
            Verdict::Admitted | Verdict::HandedOver | Verdict::Standby => true,
            _ => false,
        }
    }

    /// Ends an attempt for which [`Self::is_done`] is true; returns whether it has shown nothing new. `is_known` means that
    /// the consumer's settings have been queried.
    pub(crate) fn settle(&mut self, shown: Shown, is_known: bool, now: Instant) -> bool {
        let before = self.verdict.replace(shown.verdict);
        let routine = self.is_settled() && !self.fresh && before == self.verdict;
        let asked_before = matches!(self.pending_reload, PendingReload::Nothing);
        self.pending_reload =
            if shown.asked == Asked::Yes || asked_before || shown.verdict != Verdict::Current {
                PendingReload::Nothing
            } else {
                PendingReload::Asking
            };
        if shown.verdict == Verdict::Current {
            // The last one belongs to this attempt.
            self.may_have_read.drain(..self.may_have_read.len().saturating_sub(1));
        }
        self.standing = LastAttempt::Settled;
        self.told.clear();
        self.eager = 0;
        // A consumer that could not be asked yet is asked as soon as possible: it may have read an earlier set that looks the
        // same, and its settings may name other files at the next reload.
        let waits = !is_known || self.pending_reload == PendingReload::Asking;
        let wait = if waits && shown.asked == Asked::NotYet {
            self.ask_again.delay().min(self.every)
        } else {
            self.every
        };
        self.next = Some(now + wait);
        routine
    }

    /// Ends an attempt that must be repeated; returns the pause before that, and whether its obstacle was already reported.
    pub(crate) fn retry(
        &mut self,
        verdict: Verdict,
        obstacle: Obstacle,
        now: Instant,
    ) -> (Duration, AlreadyReported) {
        self.verdict = Some(verdict);
        let Obstacle { key, slow, alarm } = obstacle;
        let mut backoff = match std::mem::replace(&mut self.standing, LastAttempt::New) {
            LastAttempt::Trying { backoff, slow: before } if before == slow && !self.fresh => {
                backoff
            }
            _ => {
                let (first, longest) = if slow { SLOWLY } else { SOON };
                Backoff::new(first, longest)
            }
        };
        let delay = backoff.delay();
        self.standing = LastAttempt::Trying { backoff, slow };
        self.next = Some(now + delay);
        let told = match (self.told.contains(&key), self.fresh) {
            (false, _) => AlreadyReported::Never,
            (true, true) => AlreadyReported::ForAnotherGeneration,
            (true, false) => AlreadyReported::Before,
        };
        if told == AlreadyReported::Never {
            // An alarm after another obstacle is news, even if it was raised before.
            if alarm {
                self.told.clear();
            }
            self.told.truncate(TOLD - 1);
            self.told.insert(0, key);
        }
        (delay, told)
    }
}
