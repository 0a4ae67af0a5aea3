//! From a published set to the verdict on it: reload, verification, and what is told of them.

use std::pin::pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::consumer::Login;
use super::waiting::grace;
use super::{Rotation, record, report};

impl Rotation {
    /// Reload and verification of what is published; `took` is how long its publication took, if it is new, and `login`
    /// a session that is being opened already.
    pub(super) async fn hand_over(
        &mut self,
        login: Option<Login>,
        took: Option<Duration>,
        stop: &CancellationToken,
    ) {
        let Some(material) = self.wanted.clone() else {
            return;
        };
        let generation = self.generation;
        if let Some(consumer) = &mut self.consumer {
            let authorities = self.authorities.certificates();
            let routine = consumer.is_settled() && took.is_none();
            let attempt = consumer.attempt(&material, authorities, took.is_some(), login);
            let mut out_of_time = pin!(grace(stop));
            let mut attempt = tokio::select! {
                attempt = attempt => attempt,
                () = &mut out_of_time => return,
            };
            let unasked = attempt.take_unasked();
            consumer.record(&attempt, &material, generation, took);
            let whole = self.begun.map(|begun| begun.elapsed());
            if consumer.is_settled() {
                self.begun = None;
            }
            self.status.send_modify(|status| {
                let of = (&*material, generation);
                record::handed_over(status, &attempt, consumer, of, (took, whole), routine);
            });
            if let Some(unasked) = unasked {
                tokio::select! {
                    () = consumer.ask(unasked) => {}
                    () = &mut out_of_time => return,
                }
                self.status.send_if_modified(|status| record::sessions(status, consumer));
            }
        } else if let Some(took) = took {
            report::published(&material, generation, took);
            self.status.send_modify(|status| {
                record::published(status, &material, generation, took);
            });
        }
    }
}
