//! The conclusions from an attempt: what to say, and when to try again.

use std::time::Duration;

use tokio::time::Instant;

use super::report;
use super::trouble::{Said, Trouble};
use super::{Attempt, Consumer, SAID, SLOWLY, SOON, Standing};
use crate::material::Material;
use crate::postgres::Retry;
use crate::timing::{self, Backoff};
use crate::verify::Verdict;

impl Consumer {
    /// Draws the conclusions: what to say, and when to try again.
    pub(crate) fn record(
        &mut self,
        attempt: &Attempt,
        material: &Material,
        generation: u64,
        took: Option<Duration>,
    ) {
        let done = match attempt.verdict {
            // The probe is the proof, however the reload went; unless it would have shown the same before. An
            // authority may have a new key under its old name.
            Verdict::Current => {
                attempt.sql.is_none()
                    || !self.owes_reload
                    || (!self.proof_takes_reload && self.proven.as_ref() != Some(&attempt.features))
            }
            Verdict::Unverifiable => attempt.sql.is_none(),
            _ => false,
        };
        let verdict_before = self.verdict.replace(attempt.verdict);
        if done {
            let routine = self.is_settled() && took.is_none() && verdict_before == self.verdict;
            report::rotated(attempt, &self.server.session, material, generation, took, routine);
            self.owes_reload = false;
            if attempt.verdict == Verdict::Current {
                self.proven = Some(attempt.features.clone());
            }
            self.standing = Standing::Settled;
            self.problem = None;
            self.advice.clear();
            self.said.clear();
            self.eager = 0;
            self.next = Some(Instant::now() + self.until_next_look(attempt));
            self.changes_of_interest(None);
            return;
        }
        let again = matches!(self.standing, Standing::Trying { .. });
        let trouble =
            Trouble::of(attempt, &attempt.findings, &self.server.session, again, timing::now());
        let slow = trouble.slow;
        let mut backoff = match std::mem::replace(&mut self.standing, Standing::Settled) {
            Standing::Trying { backoff, slow: before } if before == slow && took.is_none() => {
                backoff
            }
            _ => {
                let (first, longest) = if slow { SLOWLY } else { SOON };
                Backoff::new(first, longest)
            }
        };
        let delay = backoff.delay();
        let known = self.said.contains(&trouble.key);
        let said = match (known, took.is_some()) {
            (false, _) => Said::Never,
            (true, true) => Said::ForAnotherGeneration,
            (true, false) => Said::Before,
        };
        trouble.say(generation, delay, said);
        if !known {
            // An alarm after another is news, though it was raised before.
            if trouble.is_alarm() {
                self.said.clear();
            }
            self.said.truncate(SAID - 1);
            self.said.insert(0, trouble.key);
        }
        self.problem = Some(trouble.sentence);
        self.advice = trouble.findings;
        self.next = Some(Instant::now() + delay);
        self.standing = Standing::Trying { backoff, slow };
        let files = self.known.as_ref().map(|settings| self.files(settings));
        self.changes_of_interest(files.as_ref());
    }

    /// How long a set that is served may be left alone. A server that could not be asked yet is asked as soon as it
    /// can be: its settings may lead elsewhere at the next rotation.
    fn until_next_look(&mut self, attempt: &Attempt) -> Duration {
        if self.known.is_none() && attempt.sql.is_some() && attempt.retry() == Retry::Soon {
            return self.ask_again.delay().min(self.server.verify.every);
        }
        self.server.verify.every
    }
}
