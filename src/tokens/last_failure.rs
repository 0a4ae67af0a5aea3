//! A failure is logged once, until another one comes or something succeeds.

use super::failure::Failure;

/// The last failure that was logged since the last success.
#[derive(Debug, Default)]
pub(super) struct LastFailure(Option<String>);

impl LastFailure {
    /// Records a failure. Returns whether the one before was another, or none.
    pub(super) fn is_news(&mut self, failure: &Failure) -> bool {
        let text = failure.to_string();
        let is_news = self.0.as_ref() != Some(&text);
        self.0 = Some(text);
        is_news
    }

    /// Records a success.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}
