//! A finding in the status document.

use serde::{Deserialize, Serialize};

use crate::finding::{self, Finding};

/// A cause of a problem. The code is text, because another version may have codes that this one does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindingView {
    /// The name of the code, from the list in `docs/findings.md`.
    pub code: String,
    /// `ok`, `skipped`, `warning` or `failure`.
    pub severity: String,
    /// The path, setting or state that it is about, if two findings with this code can differ by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The result, in one sentence that names the object.
    pub text: String,
    /// The reason, if the text does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The command within the remedy, ready to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl FindingView {
    pub(super) fn of(found: &Finding) -> Self {
        let Finding { code, severity, object, text, cause, fix, command, .. } = found.clone();
        let (code, severity) = (code.name().to_owned(), severity.name().to_owned());
        let command = command.map(String::from);
        Self { code, severity, object, text, cause, fix, command }
    }

    /// The remedy without its command.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        finding::advice(self.fix.as_deref(), self.command.as_deref())
    }

    /// Why something is wrong: the cause, or the text if no cause is set.
    #[must_use]
    pub fn why(&self) -> &str {
        self.cause.as_ref().unwrap_or(&self.text)
    }
}
