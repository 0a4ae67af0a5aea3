//! The file of the JWT bundle.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::due::Due;
use super::failure::Failure;
use super::feed::Known;
use super::last_failure::LastFailure;
use super::output::Output;
use super::repair::Repair;
use super::report;
use super::settings::{Bundle, Format};
use crate::publish;
use crate::status::TokenFile;
use crate::timing::{self, Budget};

/// When it is written again after that has failed.
const RETRY: Duration = Duration::from_secs(30);
/// When the keys are looked at again after the agent has failed: it is asked by another timer.
const SOON: Duration = Duration::from_secs(1);
/// Changes that are written at once, and how long it takes until another one is, after that: an agent that sends other keys
/// endlessly neither wears out the disk nor floods the log.
const CHANGES: (u32, Duration) = (5, Duration::from_secs(30));

/// The file, and its part of the status.
pub(super) struct Keyring {
    format: Format,
    pub(super) output: Output,
    pub(super) repair: Repair,
    pub(super) state: TokenFile,
    told: LastFailure,
    changes: Budget,
    /// When a write that has failed is tried again.
    pub(super) retry: Option<Due>,
}

impl Keyring {
    pub(super) fn new(settings: Bundle) -> Self {
        let file = settings.file.path.display().to_string();
        let state = TokenFile { file, ..TokenFile::default() };
        let (format, output) = (settings.format, Output::of_bundle(settings.file));
        let changes = Budget::new(CHANGES.0, CHANGES.1);
        let (repair, told) = (Repair::new(), LastFailure::default());
        Self { format, output, repair, state, told, changes, retry: None }
    }

    /// Writes what is known, if that has changed. Returns whether it was written; fails only if this process can never write it.
    pub(super) async fn update(
        &mut self,
        known: Known,
        spiffe_id: &str,
    ) -> Result<bool, publish::Error> {
        let Known { bundles, trouble } = known;
        let (now, at) = (timing::now(), Instant::now());
        let rendered = match (bundles, &trouble) {
            (Some(bundles), _) => bundles.render(self.format, spiffe_id),
            (None, Some(failure)) => {
                self.fail(failure, None, now);
                return Ok(false);
            }
            (None, None) => return Ok(false),
        };
        if let Ok((bytes, _)) = &rendered
            && !self.output.has(bytes)
            && let Err(moment) = self.changes.take(at)
        {
            self.retry = Some(Due::after(moment - at, now));
            return Ok(false);
        }
        let result = match rendered {
            Ok((bytes, keys)) => {
                self.output.put(Zeroizing::new(bytes)).await.map(|written| (written, keys))
            }
            Err(failure) => Err(failure),
        };
        let (written, keys) = match result {
            Ok(done) => done,
            Err(failure) => {
                self.fail(&failure, Some(timing::jittered(RETRY)), now);
                return failure.into_end().map(|()| false);
            }
        };
        self.repair.is_whole(&mut self.state);
        self.state.keys = Some(keys);
        if written {
            report::bundle(&self.state.file, keys);
            self.state.written = Some(now);
            self.state.writes += 1;
        }
        match &trouble {
            // The keys may have changed since.
            Some(failure) => self.fail(failure, None, now),
            None => self.succeed(),
        }
        Ok(written)
    }

    fn fail(&mut self, failure: &Failure, retry: Option<Duration>, now: SystemTime) {
        let found = failure.finding(&self.state.file, "JWT bundle");
        if self.told.is_news(failure) {
            self.state.failures += 1;
            report::failed(&found, failure, retry.unwrap_or(SOON), true, self.state.keys.is_some());
        }
        self.retry = retry.map(|delay| Due::after(delay, now));
        self.state.retry = self.retry.map(|due| due.at);
        self.state.problem = Some(found);
    }

    fn succeed(&mut self) {
        self.told.forget();
        self.retry = None;
        (self.state.problem, self.state.retry) = (None, None);
    }
}
