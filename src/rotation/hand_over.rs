//! From a published set to the verdict on it: reload, verification, and what is told of them.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::outcome::Set;
use super::waiting::{grace, superseded};
use super::{Error, PUBLISH_AGAIN, Rotation, record, report};
use crate::consumers::Login;
use crate::material::Material;
use crate::timing::Backoff;

const DISTURBED: &str = "somebody has exchanged the published files while PostgreSQL may have read them; publishing them again";

impl Rotation {
    /// Reload and verification of what is published; `took` is how long its publication took, if it is new, and `login`
    /// a session that is being opened already.
    pub(super) async fn hand_over(
        &mut self,
        login: Option<Login>,
        took: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let Some(Set { material, extra_authorities }) = self.published.clone() else {
            return Ok(());
        };
        let generation = self.generation;
        if let Some(consumer) = &mut self.consumer {
            let routine = consumer.is_settled() && took.is_none();
            let attempt = consumer.attempt(&material, &extra_authorities, took.is_some(), login);
            let mut out_of_time = pin!(grace(stop));
            let mut attempt = tokio::select! {
                attempt = attempt => attempt,
                () = &mut out_of_time => return Ok(()),
                () = superseded(self.source.clone(), &material) => {
                    consumer.interrupted();
                    warn!(event = "attempt-interrupted", generation, "PostgreSQL answers slowly; what the agent has sent meanwhile is published first");
                    return Ok(());
                }
            };
            // It may have been something else for as long as PostgreSQL read it: then it proves nothing.
            if !self.is_undisturbed().await? {
                self.disturbed(&material);
                return Ok(());
            }
            let Some(consumer) = &mut self.consumer else { return Ok(()) };
            let unasked = attempt.take_unasked();
            consumer.record(&attempt, &material, generation, took);
            let whole = self.begun.map(|begun| begun.elapsed());
            if consumer.is_settled() {
                self.begun = None;
                self.disturbance.settle();
            }
            let disturbed = self.disturbance.is_pending();
            let publish_again = self.publish_again.as_ref().map(|(at, _)| *at);
            self.status.send_modify(|status| {
                let of = (&*material, generation);
                record::handed_over(status, &attempt, consumer, of, (took, whole), routine);
                if let Some(unpublished) = &self.unpublished {
                    record::still_unpublished(status, &unpublished.why, publish_again);
                }
                if !disturbed {
                    status.displaced = None;
                }
            });
            if let Some(unasked) = unasked {
                tokio::select! {
                    () = consumer.ask(unasked) => {}
                    () = &mut out_of_time => return Ok(()),
                }
                self.status.send_if_modified(|status| record::sessions(status, consumer));
            }
        } else if let Some(took) = took {
            report::published(&material, generation, took);
            self.status.send_modify(|status| {
                record::published(status, &material, generation, took);
                status.displaced = None;
            });
            self.disturbance.settle();
        }
        Ok(())
    }

    /// Whether nobody has exchanged anything of the published set for a moment.
    pub(super) async fn is_undisturbed(&self) -> Result<bool, Error> {
        self.with_publisher(|publisher| publisher.is_undisturbed()).await
    }

    /// What PostgreSQL was last told to read may not have been ours: it counts for nothing until it has read again. Returns
    /// whether that was so a while ago, too.
    pub(super) fn distrust(&mut self) -> bool {
        if let Some(consumer) = &mut self.consumer {
            consumer.distrust();
        }
        self.status.send_modify(|status| status.displaced = Some(DISTURBED.to_owned()));
        self.disturbance.note()
    }

    /// Somebody has been at the published set since it was handed over: it is published and handed over again, in a while.
    pub(super) fn disturbed(&mut self, material: &Material) {
        self.distrust();
        self.publish_in_a_while(material);
    }

    pub(super) fn publish_in_a_while(&mut self, material: &Material) {
        let delay = self.disturbance.delay();
        self.disturbance.waits = true;
        warn!(event = "set-disturbed", again_in = ?delay, "{DISTURBED}");
        let (first, longest) = PUBLISH_AGAIN;
        self.publish_again = Some((Instant::now() + delay, Backoff::new(first, longest)));
        // What is there may be another's again at any time.
        self.displaced = true;
        let retry = record::due(self.publish_again.as_ref().map(|(at, _)| *at));
        let generation = self.generation;
        self.status.send_modify(|status| {
            record::unpublished(status, material, generation, DISTURBED, retry);
        });
    }
}
