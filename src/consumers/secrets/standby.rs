//! What a replica does that does not write, or that cannot.

use std::time::Duration;

use tokio::time::Instant;

use super::write::{LIMIT, Stop};
use super::{Secrets, explain, kept, report, verdict, verdict_of_connection};
use crate::consumers::Publication;
use crate::finding::Finding;
use crate::timing;
use crate::verify::Verdict;

/// How long a replica with the Lease may write no Secret at all, before it leaves the Lease to others, and for how long it does.
const FAILS: Duration = Duration::from_secs(60);
const RESTS: Duration = Duration::from_secs(60);

impl Secrets {
    /// Another replica should write: whether it does shows in the Secrets.
    pub(super) async fn standby(
        &mut self,
        holder: String,
        publication: &Publication,
    ) -> (Verdict, Option<String>, Vec<Finding>) {
        self.states.iter_mut().for_each(|state| state.holds = false);
        let mut found = Vec::new();
        for at in 0..self.settings.targets.len() {
            self.pulse.step("reading Secrets", LIMIT);
            match self.read(at).await {
                Err(Stop::Asking(found)) => {
                    return (verdict_of_connection(&found), None, vec![found]);
                }
                Err(Stop::LeaseTask) => {}
                Ok(Err(finding)) => found.push(finding),
                Ok(Ok(secret)) => {
                    let target = &self.settings.targets[at];
                    let name = publication.material.name();
                    if let Some(lack) = kept::lack(target, secret.as_ref(), name, timing::now()) {
                        found.push(explain::not_kept(&self.settings, at, &lack, &holder));
                    }
                }
            }
        }
        if found.is_empty() {
            return (Verdict::Standby, Some(holder), found);
        }
        // It had the Lease, and nobody does better: what kept it from writing is the cause.
        if let Some((_, causes)) = &self.failing {
            found.clone_from(causes);
        }
        (verdict(&found), None, found)
    }

    /// Says which Secrets are not watched.
    pub(super) async fn note_unwatched(&mut self) {
        for at in 0..self.settings.targets.len() {
            let Some(fault) = self.following.fault(at) else {
                self.said_unwatched[at] = false;
                continue;
            };
            self.pulse.step("explaining why a Secret is not watched", LIMIT);
            let target = &self.settings.targets[at];
            let found = explain::unwatched(&self.client, &self.settings, target, &fault).await;
            if !std::mem::replace(&mut self.said_unwatched[at], true) {
                report::unwatched(&found);
            }
            self.concern(found);
        }
    }

    /// Leaves the Lease to others after a minute in which this replica has it, and can write no Secret at all.
    pub(super) fn note_failing(&mut self, verdict: Verdict, found: &[Finding]) {
        let now = Instant::now();
        let is_writer = self.turn.as_ref().is_some_and(|turn| turn.now().is_writer(now));
        let none_holds = self.states.iter().all(|state| !state.holds);
        match verdict {
            Verdict::Refused | Verdict::Unavailable if is_writer && none_holds => {
                let (since, causes) = self.failing.get_or_insert_with(|| (now, Vec::new()));
                *causes = found.to_vec();
                if now.duration_since(*since) >= FAILS {
                    // The next minute begins after the rest.
                    *since = now + RESTS;
                    let until = Some(now + RESTS);
                    self.candidacy.send_modify(|candidacy| candidacy.rests_until = until);
                }
            }
            Verdict::HandedOver | Verdict::Standby => self.failing = None,
            _ => {}
        }
    }
}
