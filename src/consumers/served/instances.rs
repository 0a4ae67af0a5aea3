//! The instances behind a name: what each serves, since when, and how long it took. Pure: the time is an argument.

mod stale;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub(super) use stale::RevertedAddress;
use stale::Stale;

use crate::consumers::Features;
use crate::verify::{Answer, Facts, Verdict};

/// Most instances of one name. Each is a handshake, a line of the status and some samples of metrics.
pub(super) const MOST: usize = 32;

/// Everything that is known of the instances.
#[derive(Default)]
pub(super) struct Instances {
    known: BTreeMap<IpAddr, Instance>,
    wanted: Option<Wanted>,
    /// Since when the name has had no address.
    empty: Option<Instant>,
    /// How many addresses are not looked at.
    pub(super) left_out: usize,
    /// The looks that have shown something else since the wanted set was handed over.
    stale: Option<Stale>,
}

/// One instance.
pub(super) struct Instance {
    /// When it was found.
    found: Instant,
    pub(super) verdict: Verdict,
    /// Since when it has that verdict.
    pub(super) since: SystemTime,
    pub(super) facts: Facts,
    /// When it last completed a handshake.
    pub(super) seen: Option<SystemTime>,
    /// Serial number and expiry of the leaf that it was last seen to serve.
    pub(super) served: Option<(String, SystemTime)>,
    /// Whether it was seen to serve the wanted set.
    proven: bool,
    /// Since when it could have served the wanted set, and does not.
    behind: Option<Instant>,
    /// How long after the hand-over it was first seen to serve the last set for which that could be measured.
    pub(super) delay: Option<Duration>,
}

/// The set that the instances should serve.
struct Wanted {
    features: Features,
    /// When it was handed over; `None` before that.
    handed: Option<Instant>,
    /// Whether the delay can be measured: the leaf is new, and this process has handed it over.
    is_measured: bool,
    /// Whether it is a set of another replica, of which nothing more is known.
    is_of_another: bool,
}

/// Since when the instances can have a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandedOver {
    /// Not yet.
    NotYet,
    /// Since this moment.
    At(Instant),
    /// Since an earlier process.
    Earlier,
    /// Another replica hands over sets of its own, since this moment at the latest.
    ByAnother(Instant),
}

/// What a look has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The instance serves the wanted set now, and how long that took, if it was measured.
    Proven(IpAddr, Option<Duration>),
    /// The address is no longer one of the name.
    Gone(IpAddr),
}

impl Instances {
    /// Records which set the instances should serve. A set that looks like the one before is the same one.
    pub(super) fn want(&mut self, features: Features, handed: HandedOver, now: Instant) {
        let at = match handed {
            HandedOver::NotYet => None,
            HandedOver::At(moment) | HandedOver::ByAnother(moment) => Some(moment),
            HandedOver::Earlier => Some(now),
        };
        let is_of_another = matches!(handed, HandedOver::ByAnother(_));
        match &mut self.wanted {
            Some(wanted) if wanted.is_of_another && is_of_another => {}
            Some(wanted)
                if wanted.features == features && wanted.is_of_another == is_of_another =>
            {
                wanted.handed = wanted.handed.or(at);
            }
            before => {
                let is_new = before
                    .as_ref()
                    .is_none_or(|before| before.is_of_another || before.features.0 != features.0);
                let is_measured = is_new && !is_of_another && handed != HandedOver::Earlier;
                *before = Some(Wanted { features, handed: at, is_measured, is_of_another });
                self.stale = None;
                for instance in self.known.values_mut() {
                    (instance.proven, instance.behind) = (false, None);
                }
            }
        }
    }

    /// Chooses the addresses to look at: of too many, those that are known already come first.
    pub(super) fn choose(&mut self, found: BTreeSet<IpAddr>) -> Vec<IpAddr> {
        self.left_out = found.len().saturating_sub(MOST);
        let mut chosen: Vec<IpAddr> = found.into_iter().collect();
        chosen.sort_by_key(|address| !self.known.contains_key(address));
        chosen.truncate(MOST);
        chosen
    }

    /// The addresses of the last look.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.known.keys().copied().collect()
    }

    /// Records what a look has shown; an instance that was not looked at is forgotten.
    pub(super) fn note(
        &mut self,
        looked: Vec<(IpAddr, Facts, Verdict)>,
        within: Duration,
        (now, at): (Instant, SystemTime),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.known);
        self.empty = looked.is_empty().then(|| self.empty.unwrap_or(now));
        for (address, facts, verdict) in looked {
            let known = before.remove(&address);
            let mut instance = known.unwrap_or_else(|| Instance::new(&facts, verdict, now, at));
            instance.see(facts, verdict, at);
            if let Some(wanted) = &self.wanted {
                changes.extend(instance.judge(address, wanted, now));
            }
            self.known.insert(address, instance);
        }
        changes.extend(before.into_keys().map(Change::Gone));
        self.note_stale(within, now);
        changes
    }

    /// All instances, by their addresses.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Instance)> {
        self.known.iter()
    }

    /// The instance whose verdict counts for all: the worst.
    pub(super) fn worst(&self) -> Option<&Instance> {
        self.known.values().max_by_key(|instance| weight(instance.verdict))
    }

    /// How long the name has had no address; `None` if it has one.
    pub(super) fn empty_for(&self, now: Instant) -> Option<Duration> {
        self.empty.map(|since| now.duration_since(since))
    }
}

impl Instance {
    fn new(facts: &Facts, verdict: Verdict, found: Instant, at: SystemTime) -> Self {
        Self {
            found,
            verdict,
            since: at,
            facts: facts.clone(),
            seen: None,
            served: None,
            proven: false,
            behind: None,
            delay: None,
        }
    }

    fn see(&mut self, facts: Facts, verdict: Verdict, at: SystemTime) {
        if verdict != self.verdict {
            (self.verdict, self.since) = (verdict, at);
        }
        if let Answer::Served(served) = &facts.answer {
            self.seen = Some(at);
            self.served = Some((served.leaf.serial().to_string(), served.not_after()));
        }
        self.facts = facts;
    }

    /// Compares with the wanted set; returns the change if it is first seen to serve that set.
    fn judge(&mut self, address: IpAddr, wanted: &Wanted, now: Instant) -> Option<Change> {
        if self.verdict == Verdict::Standby {
            (self.proven, self.behind) = (true, None);
            return None;
        }
        if self.verdict != Verdict::Current {
            if let Some(handed) = wanted.handed {
                let from = if self.proven { now } else { handed.max(self.found) };
                self.behind.get_or_insert(from);
            }
            return None;
        }
        let was_behind = self.behind.take().is_some();
        if std::mem::replace(&mut self.proven, true) {
            return None;
        }
        // An instance that is found after the hand-over, and serves the set at once, took an unknown time.
        let from = wanted.handed.filter(|handed| was_behind || self.found <= *handed);
        let from = from.filter(|_| wanted.is_measured).map(|handed| handed.max(self.found));
        let delay = from.map(|from| now.duration_since(from));
        self.delay = delay.or(self.delay);
        Some(Change::Proven(address, delay))
    }

    /// How long it could have served the wanted set, and does not.
    pub(super) fn behind_for(&self, now: Instant) -> Option<Duration> {
        self.behind.map(|since| now.duration_since(since))
    }
}

/// The verdict on an instance while another replica hands over sets of its own: whether it serves the newest of those is for that
/// replica to judge.
pub(super) fn by_another(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Current | Verdict::OldAuthorities | Verdict::StillOld | Verdict::Foreign => {
            Verdict::Standby
        }
        other => other,
    }
}

/// How bad a verdict is.
fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Plaintext => 7,
        Verdict::Expired => 6,
        Verdict::Foreign => 5,
        Verdict::StillOld => 4,
        Verdict::OldAuthorities => 3,
        Verdict::Unverifiable => 1,
        Verdict::Current | Verdict::Standby => 0,
        // Unreachable; the others are of logins.
        _ => 2,
    }
}

#[cfg(test)]
mod tests;
