//! When to dial again. Pure: its inputs are how a connection ended and how long it lasted.

use std::time::Duration;

use crate::source::workload_api::limits;
use crate::timing::Backoff;

/// How soon to dial again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconnect {
    /// pgsvid ended the connection, and not because the agent failed.
    AtOnce,
    /// The agent ended the connection normally: at once, but with back-off if it did not last.
    Again,
    /// It failed: with back-off.
    Soon,
    /// The agent has no identity for this process: with the back-off of an unregistered workload.
    Slowly,
    /// After this time.
    After(Duration),
}

/// The state of the pauses.
pub(super) struct Retry {
    failed: Backoff,
    unregistered: Backoff,
    another: Backoff,
    replaced: Backoff,
    /// How long the next connection is kept at least although another socket has replaced its own.
    keep: Duration,
    /// Whether the previous connection has lasted.
    held: bool,
}

impl Retry {
    pub(super) fn new() -> Self {
        let backoff = |(first, longest)| Backoff::new(first, longest);
        let mut replaced = backoff(limits::REPLACED);
        Self {
            failed: backoff(limits::BACKOFF),
            unregistered: backoff(limits::UNREGISTERED),
            another: backoff(limits::ANOTHER_SOCKET),
            keep: replaced.delay(),
            replaced,
            held: false,
        }
    }

    /// How long a connection is kept at least although another socket has replaced its own.
    pub(super) fn keep(&self) -> Duration {
        self.keep
    }

    /// Records that a connection has ended after this time; zero if none was opened.
    pub(super) fn ended(&mut self, lasted: Duration) {
        // No other socket has appeared for a while.
        if lasted >= self.keep + limits::CALM {
            self.replaced.reset();
            self.keep = self.replaced.delay();
        }
        // A stream that ends within a moment is no success, however often it is opened.
        self.held = lasted >= limits::HELD;
        if self.held {
            self.failed.reset();
            self.unregistered.reset();
            self.another.reset();
        }
    }

    /// Records that the connection ended because another socket appeared: the next connection is kept for longer, up to a limit.
    pub(super) fn replaced(&mut self) {
        self.keep = self.replaced.delay();
    }

    /// The pause before the next attempt.
    pub(super) fn pause(&mut self, pace: Reconnect) -> Duration {
        match pace {
            Reconnect::Again if !self.held => self.failed.delay(),
            Reconnect::AtOnce | Reconnect::Again => Duration::ZERO,
            Reconnect::Soon => self.failed.delay(),
            Reconnect::Slowly => self.unregistered.delay(),
            Reconnect::After(pause) => pause,
        }
    }

    /// The pause before pgsvid dials another socket that has appeared during a longer pause.
    pub(super) fn pause_before_other_socket(&mut self) -> Duration {
        self.another.delay()
    }

    /// Records that another socket is dialled. It belongs to another agent, which may not listen yet, so the first retries come
    /// fast.
    pub(super) fn dials_other_socket(&mut self) {
        self.failed.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const MOMENT: Duration = Duration::from_millis(1);

    /// The longest of many pauses, after connections of this duration.
    fn longest(pace: Reconnect, lasted: Duration) -> Duration {
        let mut retry = Retry::new();
        let pause = |_| {
            retry.ended(lasted);
            retry.pause(pace)
        };
        (0..100).map(pause).max().unwrap()
    }

    #[test]
    fn each_pace_has_its_longest_pause_and_a_connection_that_has_lasted_resets_it() {
        for (pace, first, most) in [
            (Reconnect::AtOnce, Duration::ZERO, Duration::ZERO),
            (Reconnect::Again, Duration::ZERO, limits::BACKOFF.1),
            (Reconnect::Soon, limits::BACKOFF.0, limits::BACKOFF.1),
            (Reconnect::Slowly, limits::UNREGISTERED.0, limits::UNREGISTERED.1),
            (Reconnect::After(DAY), DAY, DAY),
        ] {
            assert!(longest(pace, limits::HELD) <= first, "{pace:?}");
            let longest = longest(pace, limits::HELD.saturating_sub(MOMENT));
            assert!(longest >= most / 2 && longest <= most, "{pace:?}: {longest:?}");
        }
    }

    #[test]
    fn paces_do_not_slow_each_other_down() {
        let mut retry = Retry::new();
        for _ in 0..20 {
            retry.pause(Reconnect::Soon);
        }
        assert!(retry.pause(Reconnect::Slowly) <= limits::UNREGISTERED.0);
        assert!(retry.pause_before_other_socket() <= limits::ANOTHER_SOCKET.0);
        retry.dials_other_socket();
        assert!(retry.pause(Reconnect::Soon) <= limits::BACKOFF.0);
    }

    #[test]
    fn a_connection_is_kept_for_longer_only_where_agents_replace_each_other_again_and_again() {
        let (first, most) = limits::REPLACED;
        let mut retry = Retry::new();
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            assert!(retry.keep() <= most);
            longest = longest.max(retry.keep());
            // It is closed as soon as allowed.
            retry.ended(retry.keep());
            retry.replaced();
        }
        assert!(longest >= most / 2, "{longest:?}");

        // Without another socket for a while it starts over, even if one then appears.
        retry.ended(retry.keep() + limits::CALM);
        assert!(retry.keep() <= first);
        for _ in 0..100 {
            retry.ended(DAY);
            retry.replaced();
            assert!(retry.keep() <= first * 2);
        }

        // Failed attempts say nothing about other sockets.
        let before = retry.keep();
        for _ in 0..100 {
            retry.ended(Duration::ZERO);
            retry.pause(Reconnect::Soon);
        }
        assert_eq!(retry.keep(), before);
    }
}
