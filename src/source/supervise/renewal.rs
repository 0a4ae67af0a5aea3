//! When the agent should have renewed the identity, whatever else it says meanwhile.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use crate::material::Material;
use crate::source::limits;

/// The renewal that is waited for.
#[derive(Default)]
pub(super) struct Renewal(Option<Due>);

#[derive(Clone, Copy)]
struct Due {
    /// When it is overdue.
    at: Instant,
    /// When the identity was issued that it is counted from.
    issued: SystemTime,
}

impl Renewal {
    /// An identity was accepted. Only one that was issued later is a renewal: a repetition, and an older one, put off nothing.
    pub(super) fn accepted(&mut self, material: &Material, now: SystemTime) {
        let issued = material.leaf().not_before();
        let at = Instant::now() + patience(material.not_after(), now);
        self.0 = Some(match self.0 {
            Some(due) if issued <= due.issued => Due { at: at.min(due.at), ..due },
            _ => Due { at, issued },
        });
    }

    /// Counts anew, from what is left of this identity: the agent was dialled anew, or the clock was set.
    pub(super) fn begin_anew(&mut self, identity: Option<&Material>, now: SystemTime) {
        self.0 = None;
        if let Some(material) = identity {
            self.accepted(material, now);
        }
    }

    /// A connection begins. The clock may have been set while there was none, so it is looked at what is left of the identity.
    /// Without one, the agent has a while to send one that is accepted: else nothing that it says would ever lead to another
    /// agent at the same place.
    pub(super) fn connected(&mut self, identity: Option<&Material>, now: SystemTime) {
        if let Some(material) = identity {
            self.accepted(material, now);
        } else {
            let at = Instant::now() + limits::WATCHDOG_EXPIRED;
            self.0.get_or_insert(Due { at, issued: SystemTime::UNIX_EPOCH });
        }
    }

    /// Ends when it is overdue.
    pub(super) fn overdue(&self) -> impl Future<Output = ()> + use<> {
        let at = self.0.map(|due| due.at);
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// How long an agent is waited for, of what an identity has left.
pub(super) fn patience(not_after: SystemTime, now: SystemTime) -> Duration {
    match not_after.duration_since(now) {
        Ok(left) => left.mul_f64(limits::WATCHDOG_PART).max(limits::WATCHDOG_SHORTEST),
        Err(_) => limits::WATCHDOG_EXPIRED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a63_without_an_identity_the_agent_has_a_minute_however_often_it_is_connected_to() {
        let mut renewal = Renewal::default();
        let begun = Instant::now();
        renewal.connected(None, SystemTime::UNIX_EPOCH);
        tokio::time::sleep(limits::WATCHDOG_EXPIRED / 2).await;
        renewal.connected(None, SystemTime::UNIX_EPOCH);
        renewal.overdue().await;
        assert_eq!(begun.elapsed(), limits::WATCHDOG_EXPIRED);
        // It was withdrawn, or the agent was dialled anew.
        renewal.begin_anew(None, SystemTime::UNIX_EPOCH);
        renewal.connected(None, SystemTime::UNIX_EPOCH);
        renewal.overdue().await;
        assert_eq!(begun.elapsed(), limits::WATCHDOG_EXPIRED * 2);
    }
}
