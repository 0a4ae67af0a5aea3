//! From a published set to its verdict: reload, verification, and what is recorded.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::attempts::{Ended, Outcome};
use super::order::Conclusion;
use super::{Error, PUBLISH_AGAIN, Rotation, record, report};
use crate::consumers::{Attempt, Publication, unusable_in_place};
use crate::finding::{Code, Finding};
use crate::material::Material;
use crate::status;
use crate::timing::{self, Backoff};
use crate::verify::Verdict;

const DISTURBED: &str = "somebody has exchanged the published files while PostgreSQL may have read them; publishing them again";

/// How long running attempts may continue after the end was requested.
const GRACE: Duration = Duration::from_secs(5);

impl Rotation {
    /// Lets these consumers read the published set, and checks them. `took` is the duration of its publication, if it is new.
    pub(super) fn hand_over(&mut self, which: &[usize], took: Option<Duration>) {
        let Some(publication) = &self.published else { return };
        self.hooks.published(publication.generation);
        if let Some(took) = took {
            self.status.send_if_modified(|status| {
                status.history.published(took);
                // `false` wakes no reader of the status: the result of the attempt follows soon.
                false
            });
        }
        if !self.attempts.is_empty() {
            self.attempts.begin(which, publication, took);
        }
        if self.attempts.has_no_servers()
            && let Some(took) = took
        {
            let Publication { generation, material, .. } = publication;
            // A set that is only in memory counts as published once it is in the Secrets.
            let is_found = !self.target.directory().as_os_str().is_empty();
            if is_found {
                report::published(material, *generation, took);
            }
            self.status.send_modify(|status| {
                if is_found {
                    record::published(status, material, *generation, took);
                }
                status.displaced = None;
            });
            self.disturbance.settle();
        }
        self.run_hooks();
    }

    /// Judges whether each consumer had loaded the authority of the published leaf before that leaf. The consumers begin first,
    /// because a signature is verified here.
    pub(super) async fn judge_order(&mut self) {
        tokio::task::yield_now().await;
        let Some(publication) = &self.published else { return };
        let names = self.attempts.names();
        let conclusion = self.order.published(publication, names, timing::now());
        if conclusion == Conclusion::Same {
            return;
        }
        let found = conclusion.finding(&publication.material);
        if let Some(found) = &found {
            report::order_broken(found, &publication.material, publication.generation);
        }
        self.status.send_if_modified(|status| {
            let is_news = status.order.is_some() || found.is_some();
            status.order = found.map(|found| (found, timing::now()));
            is_news
        });
    }

    /// Handles the result of an attempt.
    pub(super) async fn conclude(&mut self, mut ended: Ended) -> Result<(), Error> {
        let at = ended.at;
        match std::mem::replace(&mut ended.outcome, Outcome::Asked) {
            Outcome::Interrupted => {
                ended.consumer.interrupted();
                self.attempts.put_back(ended);
            }
            Outcome::Asked => {
                self.status.send_if_modified(|status| record::asked(status, &ended.consumer));
                self.judge_in_place();
                self.attempts.put_back(ended);
            }
            Outcome::Shown(mut attempt) => {
                // Others may have replaced the set while PostgreSQL read it: then the result proves nothing.
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

    /// Draws the conclusions from an attempt, for the consumer and for the status.
    fn judge(&mut self, ended: &mut Ended, attempt: &Attempt) {
        let Ended { at, consumer, publication, took, .. } = ended;
        let why_not_newer = self.status.borrow().why_not_renewed();
        let concluded = consumer.conclude(attempt, publication, *took, why_not_newer);
        let reads = consumer.kind().reads_the_set();
        let whole = consumer.is_settled().then(|| self.attempts.arrived(*at)).flatten();
        // `[[served]]` servers are reloaded by others, so their time is not counted.
        let whole = whole.filter(|_| consumer.kind() != status::Kind::Served);
        if self.attempts.note(*at, consumer) {
            // The published set is in force at all consumers, so what others have changed before has no effect any more.
            self.disturbance.settle();
        }
        let current = consumer.is_settled() && attempt.verdict == Verdict::Current;
        // Patroni may serve the certificate, and still have earlier authorities.
        let is_pending = |found: &Finding| found.code == Code::PatroniAuthoritiesPending;
        let loaded = current && !consumer.concerns().iter().any(is_pending);
        // Nor does a certificate alone prove which authorities are loaded.
        if reads && loaded && consumer.unproven().is_none() {
            self.order.loaded(consumer.name(), publication);
        }
        if self.attempts.note_proof(*at, loaded, publication.generation) {
            self.hooks.proven(publication.generation);
        }
        if consumer.kind() == status::Kind::Secrets {
            match attempt.verdict {
                Verdict::HandedOver if consumer.is_settled() => {
                    self.attempts.note_handed_over(publication.generation, Instant::now());
                }
                Verdict::Standby => self.attempts.note_standby(Instant::now()),
                _ => {}
            }
        }
        let disturbed = self.disturbance.is_pending();
        self.status.send_modify(|status| {
            record::handed_over(status, attempt, consumer, publication, (*took, whole), concluded);
            if !disturbed {
                status.displaced = None;
            }
        });
        self.judge_in_place();
        self.run_hooks();
    }

    /// Judges whether consumers that open the source's own files at each connection find a set there. Does nothing if they read
    /// published files.
    pub(super) fn judge_in_place(&self) {
        let found = {
            let state = self.source.borrow();
            let trouble = state.files().and_then(|files| files.trouble.as_ref());
            trouble.map(unusable_in_place)
        };
        let mut failing = Vec::new();
        self.status
            .send_if_modified(|status| record::in_place(status, found.as_ref(), &mut failing));
        if let Some(found) = &found {
            let is_alone = self.status.borrow().consumers.len() == 1;
            for name in failing {
                report::unusable_in_place((!is_alone).then_some(&name), found);
            }
        }
    }

    /// Interrupts the running attempts, and handles their results, so that the next set is not swapped in while they run.
    pub(super) async fn recall(&mut self) -> Result<(), Error> {
        if self.attempts.is_running() {
            let (generation, consumer) = (self.generation, self.attempts.running());
            if self.attempts.delays() {
                warn!(
                    event = "attempt-interrupted",
                    consumer,
                    generation,
                    "a consumer answers slowly; the next set is published first"
                );
            } else {
                info!(
                    event = "attempt-interrupted",
                    consumer, generation, "the next set is published; it is tried with that one"
                );
            }
        }
        while self.attempts.is_running() {
            self.attempts.interrupt();
            let ended = self.attempts.ended().await;
            self.conclude(ended).await?;
        }
        Ok(())
    }

    /// Waits for the running attempts and hooks at the end.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        self.hooks.close();
        let rest = async {
            while self.attempts.is_running() || self.hooks.are_running() {
                tokio::select! {
                    ended = self.attempts.ended() => self.conclude(ended).await?,
                    answer = self.hooks.answer() => self.hook_ended(&answer),
                }
            }
            self.attempts.leave().await;
            Ok(())
        };
        timeout(GRACE, rest).await.unwrap_or(Ok(()))
    }

    /// Whether nobody has replaced anything of the published set, even for a moment.
    pub(super) async fn is_undisturbed(&self) -> Result<bool, Error> {
        Ok(self.target().is_undisturbed().await?)
    }

    /// Records that PostgreSQL may have read files of others: its answers prove nothing before another reload. Returns whether
    /// the set was already disturbed less than a minute before.
    pub(super) fn distrust(&mut self) -> bool {
        self.attempts.distrust();
        self.hooks.distrust();
        self.status.send_modify(|status| status.displaced = Some(DISTURBED.to_owned()));
        self.disturbance.note()
    }

    /// Somebody has changed the published set since it was handed over: after a delay it is published and handed over again.
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
        // Others may replace the set again at any time.
        self.displaced = true;
        let retry = record::due(self.publish_again.as_ref().map(|(at, _)| *at));
        let generation = self.generation;
        self.status.send_modify(|status| {
            record::unpublished(status, material, generation, (DISTURBED, None), retry);
        });
    }
}
