//! From a published set to the verdict on it: reload, verification, and what is told of them.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::attempts::{Ended, Outcome};
use super::{Error, PUBLISH_AGAIN, Rotation, record, report};
use crate::consumers::{Attempt, Publication};
use crate::material::Material;
use crate::timing::Backoff;

const DISTURBED: &str = "somebody has exchanged the published files while PostgreSQL may have read them; publishing them again";

/// How long attempts that run may go on after the end has been asked for.
const GRACE: Duration = Duration::from_secs(5);

impl Rotation {
    /// Has these consumers told to read what is published, and looked at. `took` is how long its publication took, if it is
    /// new.
    pub(super) fn hand_over(&mut self, which: &[usize], took: Option<Duration>) {
        let Some(publication) = &self.published else { return };
        if let Some(took) = took {
            self.status.send_if_modified(|status| {
                status.history.published(took);
                // What comes of it is told soon.
                false
            });
        }
        if !self.attempts.is_empty() {
            self.attempts.begin(which, publication, took);
        } else if let Some(took) = took {
            let Publication { generation, material, .. } = publication;
            report::published(material, *generation, took);
            self.status.send_modify(|status| {
                record::published(status, material, *generation, took);
                status.displaced = None;
            });
            self.disturbance.settle();
        }
    }

    /// Takes note of what an attempt has come to.
    pub(super) async fn conclude(&mut self, mut ended: Ended) -> Result<(), Error> {
        let at = ended.at;
        match std::mem::replace(&mut ended.outcome, Outcome::Asked) {
            Outcome::Interrupted => {
                ended.consumer.interrupted();
                self.attempts.put_back(ended);
            }
            Outcome::Asked => {
                self.status.send_if_modified(|status| record::sessions(status, &ended.consumer));
                self.attempts.put_back(ended);
            }
            Outcome::Shown(mut attempt) => {
                // It may have been something else for as long as PostgreSQL read it: then it proves nothing.
                if self.attempts.is_distrusted(at) || !self.is_undisturbed().await? {
                    let material = ended.publication.material.clone();
                    self.attempts.put_back(ended);
                    self.disturbed(&material);
                } else {
                    self.judge(&mut ended, &attempt);
                    self.attempts.ask(ended, &mut attempt);
                }
            }
        }
        self.sweep().await
    }

    /// What an attempt means, for the consumer and for all who ask.
    fn judge(&mut self, ended: &mut Ended, attempt: &Attempt) {
        let Ended { at, consumer, publication, took, .. } = ended;
        let concluded = consumer.conclude(attempt, publication, *took);
        let whole = consumer.is_settled().then(|| self.attempts.arrived(*at)).flatten();
        if self.attempts.note(*at, consumer) {
            // Nothing that others have done matters any more.
            self.disturbance.settle();
        }
        let disturbed = self.disturbance.is_pending();
        self.status.send_modify(|status| {
            record::handed_over(status, attempt, consumer, publication, (*took, whole), concluded);
            if !disturbed {
                status.displaced = None;
            }
        });
    }

    /// Ends the attempts that run, and takes note of them: the next set is not swapped in beneath them.
    pub(super) async fn recall(&mut self) -> Result<(), Error> {
        if self.attempts.is_running() {
            let generation = self.generation;
            warn!(
                event = "attempt-interrupted",
                generation,
                "PostgreSQL answers slowly; what the agent has sent meanwhile is published first"
            );
        }
        while self.attempts.is_running() {
            self.attempts.interrupt();
            let ended = self.attempts.ended().await;
            self.conclude(ended).await?;
        }
        Ok(())
    }

    /// Waits for the attempts that run, at the end.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        let rest = async {
            while self.attempts.is_running() {
                let ended = self.attempts.ended().await;
                self.conclude(ended).await?;
            }
            Ok(())
        };
        timeout(GRACE, rest).await.unwrap_or(Ok(()))
    }

    /// Whether nobody has exchanged anything of the published set for a moment.
    pub(super) async fn is_undisturbed(&self) -> Result<bool, Error> {
        self.with_publisher(|publisher| publisher.is_undisturbed()).await
    }

    /// What PostgreSQL was last told to read may not have been ours: it counts for nothing until it has read again. Returns
    /// whether that was so a while ago, too.
    pub(super) fn distrust(&mut self) -> bool {
        self.attempts.distrust();
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
