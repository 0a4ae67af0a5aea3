//! One entry of the history, in the document.

use serde::{Deserialize, Serialize};

use super::history::Attempt;
use super::time::Time;
use crate::finding::Code;
use crate::timing;

/// One entry of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptView {
    /// The consumer; `None` for a publication.
    pub consumer: Option<String>,
    /// When it ended; if `tries` is more than 1, when the last of them ended.
    pub at: Time,
    /// Number of the publication, from 1; 0 is a set that an earlier process left.
    pub generation: u64,
    /// The leaf's serial number.
    pub serial: String,
    /// `completed`, `pending` or `failed`.
    pub outcome: String,
    /// The step with which it ended: `publish`, `reload` or `verify`.
    pub step: String,
    /// How many attempts in a row ended like this.
    pub tries: u64,
    /// The verdict of its verification, if there was one.
    pub verdict: Option<String>,
    /// Duration of the publication in milliseconds, if there was one.
    pub publish_ms: Option<f64>,
    /// Duration of the reload in milliseconds, if there was one.
    pub reload_ms: Option<f64>,
    /// Duration of the verification in milliseconds, if there was one.
    pub verify_ms: Option<f64>,
    /// From the start of the publication to its proof, in milliseconds, including retries; once it is proven.
    pub whole_ms: Option<f64>,
    /// Why it failed.
    pub problem: Option<String>,
    /// The codes of the findings about it.
    pub codes: Vec<String>,
}

impl AttemptView {
    pub(super) fn of(attempt: &Attempt) -> Self {
        Self {
            consumer: attempt.consumer.clone(),
            at: Time(attempt.at),
            generation: attempt.generation,
            serial: attempt.serial.clone(),
            outcome: attempt.outcome.name().to_owned(),
            step: attempt.step.name().to_owned(),
            tries: attempt.tries,
            verdict: attempt.verdict.map(|verdict| verdict.name().to_owned()),
            publish_ms: attempt.publish.map(timing::milliseconds),
            reload_ms: attempt.reload.map(timing::milliseconds),
            verify_ms: attempt.verify.map(timing::milliseconds),
            whole_ms: attempt.whole.map(timing::milliseconds),
            problem: attempt.problem.clone(),
            codes: attempt.codes.iter().map(Code::to_string).collect(),
        }
    }
}
