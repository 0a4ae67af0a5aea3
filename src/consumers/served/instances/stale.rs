//! Looks that show something else than the wanted set although it was handed over. An address may be that of several servers, and a
//! name may have other addresses at each look: what one instance serves says nothing then. Pure.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Instances, weight};
use crate::verify::{Facts, Verdict};

/// Looks that have shown something else than the wanted set, at whichever address, with less than `served.within` between them. A
/// name may have other addresses at each look.
pub(super) struct Stale {
    first: Instant,
    last: Instant,
    fallen: Option<RevertedAddress>,
}

/// An address that has shown the wanted set, and later another one.
pub(in super::super) struct RevertedAddress {
    pub(in super::super) address: IpAddr,
    /// What the last look has shown that was not the wanted set.
    pub(in super::super) verdict: Verdict,
    pub(in super::super) facts: Facts,
    /// Whether it has shown the wanted set again since: several servers may answer there.
    is_back: bool,
}

impl Instances {
    /// Records what a look has shown, which has been noted already.
    pub(super) fn note_stale(&mut self, within: Duration, now: Instant) {
        let is_handed = self.wanted.as_ref().is_some_and(|wanted| wanted.handed.is_some());
        let mut stale = self.known.iter().filter(|(_, it)| is_handed && is_stale(it.verdict));
        let fallen = stale.clone().find(|(_, it)| it.proven);
        let is_any = stale.next().is_some();
        let current =
            |at: &IpAddr| self.known.get(at).is_some_and(|it| it.verdict == Verdict::Current);
        let before = self.stale.as_mut().and_then(|known| known.fallen.as_mut());
        if let Some(fallen) = before.filter(|fallen| current(&fallen.address)) {
            fallen.is_back = true;
        }
        if !is_any {
            let is_quiet = |it: &Stale| now.duration_since(it.last) >= within;
            self.stale.take_if(|it| is_quiet(it));
            return;
        }
        let known = self.stale.get_or_insert(Stale { first: now, last: now, fallen: None });
        known.last = now;
        if let Some((address, it)) = fallen {
            let before = known.fallen.take().filter(|before| before.address == *address);
            known.fallen = Some(RevertedAddress {
                address: *address,
                verdict: it.verdict,
                facts: it.facts.clone(),
                is_back: before.is_some_and(|before| before.is_back),
            });
        }
    }

    /// For how long, with pauses, looks have shown something else than the wanted set.
    pub(in super::super) fn stale_for(&self) -> Option<Duration> {
        self.stale.as_ref().map(|stale| stale.last.duration_since(stale.first))
    }

    /// An address that shows the wanted set and something else alternately.
    pub(in super::super) fn mixed(&self) -> Option<&RevertedAddress> {
        self.stale.as_ref()?.fallen.as_ref().filter(|fallen| fallen.is_back)
    }

    /// The worst verdict; `None` without an instance.
    pub(in super::super) fn verdict(&self) -> Option<Verdict> {
        let mixed = self.mixed().map(|fallen| fallen.verdict);
        let all = self.known.values().map(|it| it.verdict).chain(mixed);
        all.max_by_key(|verdict| weight(*verdict))
    }
}

/// Whether a server with this verdict serves something else than the wanted set.
fn is_stale(verdict: Verdict) -> bool {
    weight(verdict) > weight(Verdict::Unreachable)
}
