//! When the agent should have renewed the identity, whatever else it sends in the meantime.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use crate::material::Material;
use crate::source::workload_api::limits;

/// The expected renewal.
#[derive(Default)]
pub(super) struct Renewal(Option<Due>);

#[derive(Clone, Copy)]
struct Due {
    /// When it is overdue.
    at: Instant,
    /// When the present identity was issued.
    issued: SystemTime,
}

impl Renewal {
    /// Records an accepted identity. Only one that was issued later is a renewal; a repetition, or an older one, postpones
    /// nothing.
    pub(super) fn accepted(&mut self, material: &Material, now: SystemTime) {
        let issued = material.leaf().not_before();
        let at = Instant::now() + patience(material.not_after(), now);
        self.0 = Some(match self.0 {
            Some(due) if issued <= due.issued => Due { at: at.min(due.at), ..due },
            _ => Due { at, issued },
        });
    }

    /// Starts over from the remaining lifetime of this identity: the agent was dialled again, or the clock was set.
    pub(super) fn begin_again(&mut self, identity: Option<&Material>, now: SystemTime) {
        self.0 = None;
        if let Some(material) = identity {
            self.accepted(material, now);
        }
    }

    /// Called when a connection begins. The clock may have been set without a connection, so the remaining lifetime is
    /// computed again. Without an identity, the agent gets some time to send an acceptable one; otherwise nothing that it
    /// sends would ever lead to another agent at the same path.
    pub(super) fn connected(&mut self, identity: Option<&Material>, now: SystemTime) {
        if let Some(material) = identity {
            self.accepted(material, now);
        } else {
            let at = Instant::now() + limits::WATCHDOG_EXPIRED;
            self.0.get_or_insert(Due { at, issued: SystemTime::UNIX_EPOCH });
        }
    }

    /// Ends when the renewal is overdue.
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

/// How long to wait for an agent, by the remaining lifetime of an identity.
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
    async fn a63_without_an_identity_the_agent_has_a_minute_over_all_connections() {
        let mut renewal = Renewal::default();
        let begun = Instant::now();
        renewal.connected(None, SystemTime::UNIX_EPOCH);
        tokio::time::sleep(limits::WATCHDOG_EXPIRED / 2).await;
        renewal.connected(None, SystemTime::UNIX_EPOCH);
        renewal.overdue().await;
        assert_eq!(begun.elapsed(), limits::WATCHDOG_EXPIRED);
        // It was withdrawn, or the agent was dialled again.
        renewal.begin_again(None, SystemTime::UNIX_EPOCH);
        renewal.connected(None, SystemTime::UNIX_EPOCH);
        renewal.overdue().await;
        assert_eq!(begun.elapsed(), limits::WATCHDOG_EXPIRED * 2);
    }
}
