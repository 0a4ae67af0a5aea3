//! What to do about the application of `exec`: when it is started, told about a set and ended, and with which status all ends.
//! Pure: events and the time are arguments.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::hooks::{End, SetSum};
use crate::parent::settings::{OnRotation, Settings};

/// Exit status: there was no set in time, as `timeout(1)` has it.
pub const NO_SET: u8 = 124;
/// Exit status: pgsvid itself could not do its work.
pub const OWN_FAILURE: u8 = 125;
/// What a shell adds to the number of the signal that has ended a program.
const BY_SIGNAL: u8 = 128;
/// Shortest time between two sets that the application is notified about; the daemon may request more.
const SHORTEST: Duration = Duration::from_secs(1);
/// The signals that end a program which does not handle them, and that people and service managers send for that.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Start the application.
    Start,
    /// Send the application this signal, because of a new set.
    Tell(i32),
    /// Ask the application to end.
    Stop,
    /// Kill it, with all of its group.
    Kill,
    /// Let the daemon say what it was waiting for, and end.
    GiveUp,
}

/// Which part of its life the application is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There was no set yet.
    Waiting,
    Running,
    /// It was asked to end, and is to be started again. It is killed at this time; `None` once that is done, or is up to others.
    Stopping(Option<Instant>),
    /// It has ended, or is never started: all ends with this status.
    Over(u8),
}

#[derive(Debug)]
pub(super) struct Course {
    /// `None` until the first daemon has sent them.
    settings: Option<Settings>,
    begun: Instant,
    phase: Phase,
    /// The set that it has read, as far as is known.
    set: SetSum,
    /// When it was last told about a set.
    told: Option<Instant>,
    /// Whether others have asked it to end.
    leaves: bool,
}

impl Course {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            settings: None,
            begun: now,
            phase: Phase::Waiting,
            set: [0; 32],
            told: None,
            leaves: false,
        }
    }

    /// Takes the settings of a daemon; those of the first one stay. Returns whether they are the same.
    pub(super) fn fix(&mut self, settings: &Settings) -> bool {
        self.settings.get_or_insert_with(|| settings.clone()) == settings
    }

    pub(super) fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// The daemon has published this set, and it is valid.
    pub(super) fn ready(&mut self, set: SetSum) -> Option<Step> {
        if self.phase != Phase::Waiting || self.settings.is_none() {
            return None;
        }
        self.phase = Phase::Running;
        self.set = set;
        Some(Step::Start)
    }

    /// The signal that tells the application about a set.
    pub(super) fn signal_of_a_rotation(&self) -> Option<i32> {
        match self.settings.as_ref()?.on_rotation {
            OnRotation::Signal(signal) => Some(signal),
            OnRotation::Nothing | OnRotation::Restart => None,
        }
    }

    /// The application is to follow this set. Returns the step, or the answer for the daemon if there is none.
    pub(super) fn rotated(&mut self, set: SetSum, now: Instant) -> Result<Step, End> {
        let (on_rotation, grace) = match &self.settings {
            Some(settings) => (settings.on_rotation, settings.grace),
            None => return Err(End::Unknown),
        };
        match self.phase {
            Phase::Stopping(_) => return Err(End::Busy),
            Phase::Running if set != self.set && !self.leaves => {}
            Phase::Running | Phase::Waiting | Phase::Over(_) => return Err(End::NotNeeded),
        }
        if self.told.is_some_and(|told| now < told + SHORTEST) {
            return Err(End::Busy);
        }
        (self.set, self.told) = (set, Some(now));
        match on_rotation {
            OnRotation::Nothing => Err(End::NotNeeded),
            OnRotation::Signal(signal) => Ok(Step::Tell(signal)),
            OnRotation::Restart => {
                self.phase = Phase::Stopping(Some(now + grace));
                Ok(Step::Stop)
            }
        }
    }

    /// The application has ended with this exit status, or by this signal.
    pub(super) fn ended(&mut self, code: Option<i32>, signal: Option<i32>) -> Option<Step> {
        match self.phase {
            Phase::Stopping(_) if !self.leaves => {
                self.phase = Phase::Running;
                Some(Step::Start)
            }
            _ => {
                let by_signal = || Some(u8::try_from(signal?).ok()?.saturating_add(BY_SIGNAL));
                let code = code.and_then(|code| u8::try_from(code).ok());
                self.phase = Phase::Over(code.or_else(by_signal).unwrap_or(OWN_FAILURE));
                None
            }
        }
    }

    /// The application could not be started, for a reason of this machine.
    pub(super) fn not_started(&mut self) {
        self.phase = Phase::Over(OWN_FAILURE);
    }

    /// A signal has come, with this number. Returns whether there is an application to pass it on to.
    pub(super) fn signalled(&mut self, number: i32) -> bool {
        let is = |signals: &[Signal]| signals.iter().any(|signal| signal.as_raw() == number);
        match self.phase {
            Phase::Waiting => {
                if is(&ENDING) {
                    let number = u8::try_from(number).unwrap_or_default();
                    self.phase = Phase::Over(BY_SIGNAL.saturating_add(number));
                }
                false
            }
            Phase::Running => {
                // It may handle the others otherwise: psql ends a query by SIGINT, and a JVM prints its threads by SIGQUIT.
                self.leaves |= is(&[Signal::TERM]);
                true
            }
            Phase::Stopping(_) => {
                if is(&[Signal::TERM, Signal::INT, Signal::QUIT]) {
                    // It is not started again. How long it may take is up to the sender now.
                    self.leaves = true;
                    self.phase = Phase::Stopping(None);
                }
                true
            }
            Phase::Over(_) => false,
        }
    }

    /// When to call [`Self::on_time`] if no event comes before.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting => self.settings.as_ref().map(|settings| self.begun + settings.timeout),
            Phase::Stopping(until) => until,
            Phase::Running | Phase::Over(_) => None,
        }
    }

    /// The step for which the time has come.
    pub(super) fn on_time(&mut self, now: Instant) -> Option<Step> {
        self.next().filter(|next| *next <= now)?;
        if self.phase == Phase::Waiting {
            self.phase = Phase::Over(NO_SET);
            return Some(Step::GiveUp);
        }
        self.phase = Phase::Stopping(None);
        Some(Step::Kill)
    }

    /// The status with which all ends; `None` as long as there is something to do.
    pub(super) fn status(&self) -> Option<u8> {
        match self.phase {
            Phase::Over(status) => Some(status),
            _ => None,
        }
    }

    /// Whether it is being ended because of a new set.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_)) && !self.leaves
    }
}

#[cfg(test)]
mod tests;
