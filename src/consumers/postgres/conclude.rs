//! The conclusions from an attempt: what to log.

use std::time::Duration;

use super::{Attempt, Postgres, explain, report};
use crate::consumers::delivery::Obstacle;
use crate::consumers::trouble::Trouble;
use crate::consumers::{Delivery, Publication, report as general};
use crate::finding::Finding;
use crate::timing;

impl Postgres {
    /// Logs that the published set is in force. `took` is the duration of its publication, if it is new, and `routine` means
    /// that nothing is new.
    pub(in crate::consumers) fn in_force(
        &mut self,
        attempt: &Attempt,
        delivery: &Delivery,
        publication: &Publication,
        took: Option<Duration>,
        routine: bool,
    ) {
        self.compare_proof(attempt);
        if attempt.no_common_tls != self.no_common_tls {
            if let Some(no_common_tls) = &attempt.no_common_tls {
                report::no_common_tls(self.label.as_deref(), no_common_tls);
            }
            self.no_common_tls.clone_from(&attempt.no_common_tls);
        }
        let Publication { material, generation, .. } = publication;
        general::rotated(self.label.as_deref(), attempt, material, *generation, took, routine);
        if !routine {
            report::reload_impossible(
                self.label.as_deref(),
                attempt,
                &self.server.session,
                *generation,
            );
        }
        // PostgreSQL reads a set as a whole: a leaf issued after pgsvid was started proves that the whole set was read.
        let is_old = material.leaf().not_before() <= self.started;
        let unasked = delivery.was_never_asked() && is_old;
        let before = std::mem::replace(&mut self.unasked, unasked);
        if unasked && !before {
            report::unasked(self.label.as_deref(), attempt, &self.server.session);
        }
        self.changes_of_interest(None);
    }

    /// Why the published set is not in force; `again` if the attempt before failed, too.
    pub(in crate::consumers) fn not_in_force(
        &mut self,
        attempt: &Attempt,
        again: bool,
        why_not_newer: Finding,
    ) -> (Trouble, Obstacle) {
        self.unasked = false;
        self.no_common_tls = None;
        let files = self.known.as_ref().map(|settings| self.files(settings));
        self.changes_of_interest(files.as_ref());
        explain::trouble(attempt, &self.server.session, again, why_not_newer, timing::now())
    }

    /// Whether the server's settings have been queried.
    pub(in crate::consumers) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Logs if less is proven about the authorities than before. If the server refuses the leaf, that was logged already.
    fn compare_proof(&mut self, attempt: &Attempt) {
        let Some(proof) = attempt.facts.proof() else { return };
        let before = self.proof.replace(proof);
        if before.is_some_and(|before| proof < before)
            && self.refused_leaf != self.leaves.published()
        {
            report::less_is_proven(self.label.as_deref(), proof, &attempt.facts.address);
        }
    }
}
