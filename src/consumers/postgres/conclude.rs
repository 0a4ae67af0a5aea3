//! The conclusions from an attempt: what to say of it.

use std::time::Duration;

use tokio::time::Instant;

use super::report;
use super::trouble::Trouble;
use super::{Attempt, Consumer};
use crate::consumers::delivery::{Asked, Shown};
use crate::material::Material;
use crate::sql::Retry;
use crate::timing;

impl Consumer {
    /// Draws the conclusions: what to say, and when to try again.
    pub(crate) fn record(
        &mut self,
        attempt: &Attempt,
        material: &Material,
        generation: u64,
        took: Option<Duration>,
    ) {
        let asked = match attempt.sql.as_ref().map(|_| attempt.retry()) {
            None => Asked::Yes,
            Some(Retry::Soon) => Asked::NotYet,
            Some(Retry::Slowly) => Asked::Refused,
        };
        let shown = Shown { verdict: attempt.verdict, asked };
        if self.delivery.is_done(shown) {
            let routine = self.delivery.settle(shown, self.known.is_some(), Instant::now());
            self.compare_proof(attempt);
            report::rotated(attempt, &self.server.session, material, generation, took, routine);
            // PostgreSQL reads a set as a whole: a leaf that it cannot have had before proves all of it.
            let is_old = material.leaf().not_before() <= self.started;
            let unasked = self.delivery.was_never_asked() && is_old;
            let before = std::mem::replace(&mut self.unasked, unasked);
            if unasked && !before {
                report::unasked(attempt, &self.server.session);
            }
            self.problem = None;
            self.findings.clear();
            self.codes.clear();
            self.changes_of_interest(None);
            return;
        }
        self.unasked = false;
        let again = self.delivery.is_trying();
        let (trouble, obstacle) = Trouble::of(attempt, &self.server.session, again, timing::now());
        let (delay, told) = self.delivery.retry(attempt.verdict, obstacle, Instant::now());
        trouble.say(generation, delay, told);
        self.problem = Some(trouble.sentence);
        self.findings = trouble.findings;
        self.codes = trouble.codes;
        let files = self.known.as_ref().map(|settings| self.files(settings));
        self.changes_of_interest(files.as_ref());
    }

    /// Says when less of the authorities is proven than before. That the leaf is refused was said already.
    fn compare_proof(&mut self, attempt: &Attempt) {
        let Some(proof) = attempt.facts.proof() else { return };
        let before = self.proof.replace(proof);
        if before.is_some_and(|before| proof < before) && self.unwelcome != self.leaf {
            report::less_is_proven(proof, &attempt.facts.address);
        }
    }
}
