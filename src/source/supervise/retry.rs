//! When to dial again. Pure: it is told how a connection has ended and how long it has lasted.

use std::time::Duration;

use crate::source::limits;
use crate::timing::Backoff;

/// How soon to dial again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// We ended the connection, and not because the agent fails.
    AtOnce,
    /// The agent ended the connection in order: at once, but with back-off if it had not lasted.
    Again,
    /// It failed: with back-off.
    Soon,
    /// The agent has nothing for us: with back-off that grows further apart.
    Slowly,
    /// After so long.
    After(Duration),
}

/// The pauses so far.
pub(super) struct Retry {
    failed: Backoff,
    unregistered: Backoff,
    another: Backoff,
    replaced: Backoff,
    /// Whether the connection before has lasted.
    held: bool,
}

impl Retry {
    pub(super) fn new() -> Self {
        let backoff = |(first, longest)| Backoff::new(first, longest);
        Self {
            failed: backoff(limits::BACKOFF),
            unregistered: backoff(limits::UNREGISTERED),
            another: backoff(limits::ANOTHER_SOCKET),
            replaced: backoff(limits::REPLACED),
            held: false,
        }
    }

    /// How long a connection is kept at least though there is another socket in the place of its own.
    pub(super) fn keep(&mut self) -> Duration {
        self.replaced.delay()
    }

    /// A connection has ended after so long.
    pub(super) fn ended(&mut self, lasted: Duration, replaced: bool) {
        if lasted >= limits::CALM && !replaced {
            self.replaced.reset();
        }
        // A stream that ends within a moment is no success, however often it is opened.
        self.held = lasted >= limits::HELD;
        if self.held {
            self.failed.reset();
            self.unregistered.reset();
            self.another.reset();
        }
    }

    /// The pause before the next try.
    pub(super) fn pause(&mut self, pace: Pace) -> Duration {
        match pace {
            Pace::Again if !self.held => self.failed.delay(),
            Pace::AtOnce | Pace::Again => Duration::ZERO,
            Pace::Soon => self.failed.delay(),
            Pace::Slowly => self.unregistered.delay(),
            Pace::After(pause) => pause,
        }
    }

    /// The pause before another socket is dialled that has come during a longer one.
    pub(super) fn another(&mut self) -> Duration {
        self.another.delay()
    }

    /// Another socket is dialled: another agent, perhaps one that does not listen yet. Its first tries come fast.
    pub(super) fn anew(&mut self) {
        self.failed.reset();
    }
}
