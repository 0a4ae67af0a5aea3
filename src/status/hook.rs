//! What is known of one hook.

use std::time::{Duration, SystemTime};

use super::history::Durations;
use crate::finding::Finding;

/// A command or a signal that follows publications.
#[derive(Debug, Clone, Default)]
pub struct Hook {
    /// Its name, which nothing else that reads the set has.
    pub name: String,
    /// When it is due: `published` or `proven`, as in the configuration.
    pub when: &'static str,
    /// The set that its last success followed, and when that was.
    pub succeeded: Option<(u64, SystemTime)>,
    /// Whether it runs.
    pub running: bool,
    /// Whether the published set is still to be followed by a success.
    pub pending: bool,
    /// Whether it waits for the proof that every server serves the published set.
    pub waits_for_proof: bool,
    /// Why it has failed, in words; `None` if it has not, or has succeeded since.
    pub problem: Option<String>,
    /// The same with its remedy.
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
    /// One of which nothing is known yet.
    #[must_use]
    pub fn named(name: &str, when: &'static str) -> Self {
        Self { name: name.to_owned(), when, pending: true, ..Self::default() }
    }

    /// A run has ended after this time.
    pub fn ran(&mut self, took: Duration, well: bool) {
        *(if well { &mut self.completed } else { &mut self.failed }) += 1;
        self.took.observe(took);
    }

    /// The run after this set has succeeded.
    pub fn succeeds(&mut self, generation: u64, now: SystemTime) {
        self.succeeded = Some((generation, now));
        (self.problem, self.retry) = (None, None);
        self.findings.clear();
    }

    /// A run has failed.
    pub fn fails(&mut self, found: &Finding, retry: Option<SystemTime>) {
        self.problem = Some(found.text.clone());
        self.findings = vec![found.clone()];
        self.retry = retry;
    }
}
