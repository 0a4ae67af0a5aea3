//! The instances behind a name that is looked at.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::timing;
use crate::verify::Verdict;

/// The instances of one `[[served]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// The name and the port that are looked at.
    pub address: String,
    /// How long an instance may take to serve a set.
    pub within: Duration,
    /// Whether instances do not serve the published set yet, and still have time.
    pub awaited: bool,
    /// Each instance, by its address.
    pub instances: Vec<Instance>,
    /// How many addresses are not looked at.
    pub left_out: usize,
}

/// One instance, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its address with the port.
    pub address: String,
    /// The verdict of the last look.
    pub verdict: Verdict,
    /// Since when it has that verdict.
    pub since: SystemTime,
    /// When it last completed a handshake.
    pub seen: Option<SystemTime>,
    /// Serial number and expiry of the leaf that it was last seen to serve.
    pub served: Option<(String, SystemTime)>,
    /// How long after the hand-over it was first seen to serve the last set for which that was measured.
    pub delay: Option<Duration>,
}

impl Instance {
    /// The verdict that holds now: a certificate that was current may have expired since.
    #[must_use]
    pub fn verdict_at(&self, now: SystemTime) -> Verdict {
        let accepted =
            matches!(self.verdict, Verdict::Current | Verdict::OldAuthorities | Verdict::Standby);
        let expired = self.served.as_ref().is_some_and(|(_, not_after)| *not_after <= now);
        if accepted && expired { Verdict::Expired } else { self.verdict }
    }
}

/// The instances behind a name, as they are shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstancesView {
    /// The name and the port that are looked at.
    pub address: String,
    /// How long an instance may take to serve a set, in milliseconds.
    pub within_ms: f64,
    /// Whether instances do not serve the published set yet, and still have time.
    pub awaited: bool,
    /// Each instance, by its address.
    pub instances: Vec<InstanceView>,
    /// How many addresses are not looked at.
    pub left_out: usize,
}

/// One instance, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its address with the port.
    pub address: String,
    /// The verdict of the last look.
    pub verdict: String,
    /// Since when it has that verdict.
    pub since: Time,
    /// When it last completed a handshake; `None` if it never did.
    pub seen: Option<Time>,
    /// The serial number of the leaf that it was last seen to serve.
    pub serial: Option<String>,
    /// When that leaf expires.
    pub not_after: Option<Time>,
    /// How long after the hand-over it was first seen to serve the last set for which that was measured, in milliseconds.
    pub delay_ms: Option<f64>,
}

impl InstancesView {
    pub(super) fn of(of: &Instances, now: SystemTime) -> Self {
        let instance = |it: &Instance| InstanceView {
            address: it.address.clone(),
            verdict: it.verdict_at(now).name().to_owned(),
            since: Time(it.since),
            seen: it.seen.map(Time),
            serial: it.served.as_ref().map(|(serial, _)| serial.clone()),
            not_after: it.served.as_ref().map(|(_, not_after)| Time(*not_after)),
            delay_ms: it.delay.map(timing::milliseconds),
        };
        Self {
            address: of.address.clone(),
            within_ms: timing::milliseconds(of.within),
            awaited: of.awaited,
            instances: of.instances.iter().map(instance).collect(),
            left_out: of.left_out,
        }
    }

    /// One phrase for people: how many instances serve the published set.
    #[must_use]
    pub fn in_words(&self) -> String {
        let all = self.instances.len();
        let with = |verdict: Verdict| {
            self.instances.iter().filter(|it| it.verdict == verdict.name()).count()
        };
        let mut words = match (with(Verdict::Current), all) {
            (_, 0) => "no instance".to_owned(),
            _ if with(Verdict::Standby) > 0 => {
                format!(
                    "{all} instances; another replica hands over the certificate that they serve"
                )
            }
            (1, 1) => "the only instance serves the published certificate".to_owned(),
            (current, _) => format!("{current} of {all} instances serve the published certificate"),
        };
        if self.awaited {
            words.push_str("; there is still time for it");
        }
        if self.left_out > 0 {
            let _ = write!(words, "; {} more addresses are not looked at", self.left_out);
        }
        words
    }
}

impl InstanceView {
    /// One phrase for people: what the instance serves, and how long it took.
    #[must_use]
    pub fn in_words(&self, now: Time) -> String {
        let serial = self.serial.as_deref().and_then(|serial| serial.get(..8));
        let mut words = format!(
            "{}: {} for {}",
            self.address,
            self.verdict,
            timing::roughly(self.since.until(now))
        );
        if let Some(serial) = serial.filter(|_| self.verdict != Verdict::Current.name()) {
            let _ = write!(words, ", last seen with serial {serial}");
        }
        if let Some(delay) = self.delay_ms {
            let delay = Duration::from_secs_f64((delay / 1000.0).max(0.0));
            let _ = write!(words, ", took {}", timing::shortly(delay));
        }
        words
    }
}
