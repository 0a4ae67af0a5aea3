//! What is known of one hook.

use std::time::{Duration, SystemTime};

use super::history::Durations;
use crate::finding::Finding;

/// A command or a signal that follows publications.
#[derive(Debug, Clone, Default)]
pub struct Hook {
    /// Its name, which no other hook and no consumer has.
    pub name: String,
    /// When it is due: `published` or `proven`, as in the configuration.
    pub when: &'static str,
    /// The generation for which it last succeeded, and when.
    pub succeeded: Option<(u64, SystemTime)>,
    /// Whether it runs.
    pub running: bool,
    /// Whether it has not succeeded for the published set yet.
    pub pending: bool,
    /// Whether it waits for the proof that every server serves the published set.
    pub waits_for_proof: bool,
    /// Why it has failed, in words; `None` if it has not, or has succeeded since.
    pub problem: Option<String>,
    /// The problem as findings, with the remedy.
    pub findings: Vec<Finding>,
    /// When the next try is due, if it is being retried.
    pub retry: Option<SystemTime>,
    /// How many runs have succeeded.
    pub completed: u64,
    /// How many have failed.
    pub failed: u64,
    pub(super) took: Durations,
}

impl Hook {
    /// A hook about which nothing is known yet.
    #[must_use]
    pub fn named(name: &str, when: &'static str) -> Self {
        Self { name: name.to_owned(), when, pending: true, ..Self::default() }
    }

    /// Records that a run has ended after the time `took`; `well` means that it has succeeded.
    pub fn ran(&mut self, took: Duration, well: bool) {
        *(if well { &mut self.completed } else { &mut self.failed }) += 1;
        self.took.observe(took);
    }

    /// Records that the run for this generation has succeeded.
    pub fn succeeds(&mut self, generation: u64, now: SystemTime) {
        self.succeeded = Some((generation, now));
        (self.problem, self.retry) = (None, None);
        self.findings.clear();
    }

    /// Records that a run has failed, and when it is retried.
    pub fn fails(&mut self, found: &Finding, retry: Option<SystemTime>) {
        self.problem = Some(found.text.clone());
        self.findings = vec![found.clone()];
        self.retry = retry;
    }
}
