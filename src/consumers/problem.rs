//! What keeps the published set from being in force at a consumer.

use crate::finding::{Code, Finding};

#[derive(Debug, Default)]
pub(crate) struct Problem {
    pub(crate) sentence: String,
    /// The causes, and their remedies.
    pub(crate) findings: Vec<Finding>,
    /// The codes of the findings, including those for which waiting is enough.
    pub(crate) codes: Vec<Code>,
    /// Whether waiting is enough: then nobody has to do anything.
    pub(crate) pending: bool,
}
