//! Which replica writes: decided by what the Lease says, and when that last changed. Pure.
//!
//! The clocks of two machines are never compared. A replica waits for the Lease's whole duration after it has itself seen the last
//! change; the holder stops a third of it before that, counted from before it sent its last renewal.

use std::time::Duration;

use tokio::time::Instant;

use crate::kubernetes::LeaseSpec;

/// Longest duration that another holder can demand.
const LONGEST: Duration = Duration::from_secs(300);

/// The duration in a Lease that its holder has given up, in seconds (as Kubernetes's own components write it).
const RELEASED: i64 = 1;

/// What to do with the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// It is free, or its holder is gone: take it.
    Take,
    /// It has vanished, or is free although nobody has given it up: take it, and write only after its whole duration, because an
    /// earlier holder may not have noticed yet.
    TakeCarefully,
    /// This replica holds it: renew it.
    Renew,
    /// Another replica holds it.
    Wait,
}

/// One replica's view of the Lease.
pub(super) struct Election {
    identity: String,
    duration: Duration,
    /// The last change, and when it was seen.
    observed: Option<(LeaseSpec, Instant)>,
    /// Whether the Lease was ever seen.
    has_seen: bool,
    /// From when on this replica writes, if it holds the Lease.
    from: Option<Instant>,
}

impl Election {
    pub(super) fn new(identity: &str, duration: Duration) -> Self {
        Self {
            identity: identity.to_owned(),
            duration,
            observed: None,
            has_seen: false,
            from: None,
        }
    }

    /// What other replicas know this one by.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// How often the Lease is renewed, or looked at.
    pub(super) fn every(&self) -> Duration {
        self.duration / 5
    }

    /// How long after the request for it was sent a renewal lets this replica write.
    pub(super) fn writes(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// Judges the Lease as it is now.
    pub(super) fn judge(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Move {
        let Some(lease) = lease else {
            return if self.has_seen { Move::TakeCarefully } else { Move::Take };
        };
        self.has_seen = true;
        let holder = lease.holder_identity.as_deref().unwrap_or_default();
        if holder == self.identity {
            return Move::Renew;
        }
        if holder.is_empty() {
            let is_released = lease.lease_duration_seconds == Some(RELEASED);
            return if is_released { Move::Take } else { Move::TakeCarefully };
        }
        let since = match &self.observed {
            Some((known, since)) if known == lease => *since,
            _ => {
                self.observed = Some((lease.clone(), now));
                now
            }
        };
        let theirs = lease.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        let theirs = theirs.map_or(self.duration, Duration::from_secs).min(LONGEST);
        if now.duration_since(since) >= theirs { Move::Take } else { Move::Wait }
    }

    /// Records that the Lease was written as this move says, by a request that was sent at `now`; returns from when on this replica
    /// writes.
    pub(super) fn taken(&mut self, by: Move, now: Instant) -> Instant {
        self.has_seen = true;
        let from = match (by, self.from) {
            (Move::Renew, Some(from)) => from,
            (Move::TakeCarefully, _) => now + self.duration,
            _ => now,
        };
        self.from = Some(from);
        from
    }

    /// Records that another replica holds the Lease, or nobody.
    pub(super) fn lost(&mut self) {
        self.from = None;
    }

    /// The Lease with this replica as its holder; `time` is the present, for people.
    pub(super) fn held(&self, before: Option<&LeaseSpec>, time: String) -> LeaseSpec {
        let is_ours = |it: &&LeaseSpec| it.holder_identity.as_deref() == Some(&self.identity);
        let known = before.filter(is_ours);
        let transitions = before.and_then(|it| it.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i64::try_from(self.duration.as_secs()).ok(),
            acquire_time: known.and_then(|it| it.acquire_time.clone()).or(Some(time.clone())),
            renew_time: Some(time),
            lease_transitions: Some(match (known, before) {
                (None, Some(_)) => transitions.saturating_add(1),
                _ => transitions,
            }),
        }
    }

    /// The Lease without a holder: another replica takes it at once.
    pub(super) fn released(before: &LeaseSpec, time: String) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(RELEASED),
            renew_time: Some(time),
            ..before.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(10);

    fn held(by: &str, renewed: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(by.to_owned()),
            lease_duration_seconds: Some(10),
            renew_time: Some(renewed.to_owned()),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn v13_a_lease_is_taken_only_after_it_has_not_changed_for_its_whole_duration() {
        let mut election = Election::new("b", DURATION);
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(election.judge(None, at(0)), Move::Take);
        // However old the time in it is: the other clock may be years behind, or ahead.
        for time in ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
            let lease = held("a", time);
            let mut election = Election::new("b", DURATION);
            assert_eq!(election.judge(Some(&lease), at(0)), Move::Wait);
            assert_eq!(election.judge(Some(&lease), at(9)), Move::Wait);
            assert_eq!(election.judge(Some(&lease), at(10)), Move::Take);
        }
        // Each renewal starts over.
        assert_eq!(election.judge(Some(&held("a", "1")), at(0)), Move::Wait);
        assert_eq!(election.judge(Some(&held("a", "2")), at(9)), Move::Wait);
        assert_eq!(election.judge(Some(&held("a", "2")), at(18)), Move::Wait);
        assert_eq!(election.judge(Some(&held("a", "2")), at(19)), Move::Take);
        let taken = election.held(Some(&held("a", "2")), "now".to_owned());
        assert_eq!(election.judge(Some(&taken), at(20)), Move::Renew);
        assert_eq!(taken.lease_transitions, Some(1));
        let renewed = election.held(Some(&taken), "later".to_owned());
        assert_eq!(
            (renewed.lease_transitions, renewed.acquire_time.as_deref()),
            (Some(1), Some("now"))
        );
        let free = Election::released(&taken, "x".to_owned());
        assert_eq!(Election::new("c", DURATION).judge(Some(&free), at(0)), Move::Take);
    }

    #[test]
    fn v13_a_lease_that_vanishes_is_held_for_its_whole_duration_before_anything_is_written() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut election = Election::new("b", DURATION);
        // Nobody has seen one: this is the first replica.
        assert_eq!(election.judge(None, at(0)), Move::Take);
        assert_eq!(election.taken(Move::Take, at(0)), at(0));
        assert_eq!(election.taken(Move::Renew, at(2)), at(0));
        // Both for its holder and for one that has waited.
        let mut other = Election::new("c", DURATION);
        assert_eq!(other.judge(Some(&held("b", "1")), at(0)), Move::Wait);
        for election in [&mut election, &mut other] {
            election.lost();
            assert_eq!(election.judge(None, at(4)), Move::TakeCarefully);
            assert_eq!(election.taken(Move::TakeCarefully, at(4)), at(14));
            assert_eq!(election.taken(Move::Renew, at(6)), at(14));
            election.lost();
            assert_eq!(election.taken(Move::TakeCarefully, at(8)), at(18));
        }
        // The same if it is free, and nobody has given it up.
        assert_eq!(other.judge(Some(&held("", "1")), at(20)), Move::TakeCarefully);
    }

    #[test]
    fn v13_a_holder_stops_before_another_may_take_the_lease_and_an_absurd_duration_has_a_limit() {
        let mut election = Election::new("b", DURATION);
        assert!(election.writes() < DURATION && election.every() * 3 <= election.writes());
        let now = Instant::now();
        for seconds in [i64::MAX, -5] {
            let lease = LeaseSpec { lease_duration_seconds: Some(seconds), ..held("a", "1") };
            assert_eq!(election.judge(Some(&lease), now), Move::Wait);
            assert_eq!(election.judge(Some(&lease), now + LONGEST), Move::Take);
        }
    }
}
