//! The part of the status document that only a hook has.

use serde::{Deserialize, Serialize};

use super::hook::Hook;
use super::time::Time;
use crate::timing;

/// A hook.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and comments of `Hook` say it")]
pub struct HookView {
    /// `published` or `proven`.
    pub when: String,
    pub running: bool,
    /// Whether it has not succeeded for the published set yet.
    pub pending: bool,
    pub waits_for_proof: bool,
    /// The generation for which it last succeeded.
    pub generation: Option<u64>,
    pub succeeded: Option<Time>,
    pub completed: u64,
    pub failed: u64,
}

impl HookView {
    pub(super) fn of(hook: &Hook) -> Self {
        Self {
            when: hook.when.to_owned(),
            running: hook.running,
            pending: hook.pending,
            waits_for_proof: hook.waits_for_proof,
            generation: hook.succeeded.map(|(generation, _)| generation),
            succeeded: hook.succeeded.map(|(_, at)| Time(at)),
            completed: hook.completed,
            failed: hook.failed,
        }
    }

    pub(super) fn in_words(&self, failed: bool, now: Time) -> String {
        let state = if failed {
            "failed"
        } else if self.waits_for_proof {
            "waits for the proof that PostgreSQL serves the published certificate"
        } else if self.running {
            "runs"
        } else if self.pending {
            "is due"
        } else {
            "succeeded"
        };
        let last = self.succeeded.map(|at| timing::roughly(at.until(now)));
        match last {
            Some(ago) if state == "succeeded" => format!("succeeded {ago} ago"),
            Some(ago) => format!("{state}; last succeeded {ago} ago"),
            None if state == "succeeded" => state.to_owned(),
            None => format!("{state}; has not succeeded yet"),
        }
    }
}
