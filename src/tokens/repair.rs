//! Puts a file back that somebody else has changed. Its delays do not depend on those of renewals.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use super::last_failure::LastFailure;
use super::output::Output;
use super::report;
use crate::publish;
use crate::status::TokenFile;
use crate::timing::Backoff;

/// First and longest back-off after a failure.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The state of the repair of one file.
pub(super) struct Repair {
    backoff: Backoff,
    told: LastFailure,
    /// When the next try is due, while the file is not as it should be.
    pub(super) again: Option<Instant>,
}

impl Repair {
    pub(super) fn new() -> Self {
        Self { backoff: Backoff::new(AGAIN.0, AGAIN.1), told: LastFailure::default(), again: None }
    }

    /// Writes the file again if somebody else has changed it, and records the result in `state`. Fails only if this process
    /// can never write it.
    pub(super) async fn look(
        &mut self,
        output: &Output,
        state: &mut TokenFile,
    ) -> Result<(), publish::Error> {
        let failure = match restored(output).await {
            Ok(how) => {
                if let Some(how) = how {
                    report::restored(&state.file, &how);
                }
                self.is_whole(state);
                return Ok(());
            }
            Err(failure) => failure,
        };
        let delay = self.backoff.delay();
        self.again = Some(Instant::now() + delay);
        state.failures += 1;
        let found = failure.not_restored(&state.file);
        let is_news = self.told.is_news(&failure);
        report::failed(&found, &failure, delay, is_news, false);
        state.damage = Some(found);
        failure.into_end()
    }

    /// Records that the file is as it should be.
    pub(super) fn is_whole(&mut self, state: &mut TokenFile) {
        self.backoff.reset();
        self.told.forget();
        (self.again, state.damage) = (None, None);
    }
}

/// How the file differed, if it did.
async fn restored(output: &Output) -> Result<Option<String>, Failure> {
    let how = output.difference().await?;
    if how.is_some() {
        output.restore().await?;
    }
    Ok(how)
}
