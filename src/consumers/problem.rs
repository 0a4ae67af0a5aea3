//! What keeps the published set from being in force at a consumer.

use crate::finding::{Code, Finding};

/// In words, and in codes.
#[derive(Debug, Default)]
pub(crate) struct Problem {
    pub(crate) sentence: String,
    /// What brings it about, and what fixes it.
    pub(crate) findings: Vec<Finding>,
    /// The codes of the findings, also of what waiting is enough for.
    pub(crate) codes: Vec<Code>,
    /// Waiting is enough: nobody has to do anything.
    pub(crate) pending: bool,
}
