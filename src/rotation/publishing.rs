//! The steps from a wanted set to a published one, and the removal of generations that nobody needs any more.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::{Error, Rotation, SHORTEST_INTERVAL, report};
use crate::consumers::Consumer;
use crate::material::Material;
use crate::source::Identity;
use crate::timing;

impl Rotation {
    /// Whether publishing this would change nothing.
    pub(super) async fn holds(&self, material: &Arc<Material>) -> Result<bool, Error> {
        let material = Arc::clone(material);
        let authorities = self.authorities.beside(&material);
        Ok(self.target().holds(material, authorities).await?)
    }

    /// Publishes the wanted set, and hands it over.
    pub(super) async fn rotate(&mut self) -> Result<(), Error> {
        // Whatever has caused this publication, it also takes the newest identity that waits.
        if self.later.take().is_some()
            && let Identity::Current(newest) = &self.source.borrow().identity
        {
            self.wanted = Some(Arc::clone(newest));
        }
        let Some(material) = self.wanted.clone() else {
            return Ok(());
        };
        if !self.attempts.barrier.is_open(Instant::now()) {
            return Ok(());
        }
        self.recall().await?;
        self.authorities.tell_left_out(&material);
        let authorities = self.authorities.beside(&material);
        self.disturbance.waits = false;
        let begun = Instant::now();
        self.not_before = begun + SHORTEST_INTERVAL;
        // Not for a retry: on a full volume, PostgreSQL would have to open a session for each try in vain.
        if self.publish_again.is_none() {
            self.attempts.idle().for_each(Consumer::prepare);
        }
        // Changes by others are noted before publishing: afterwards nothing shows that PostgreSQL may have read them.
        if self.generation > 0 && !self.is_undisturbed().await? {
            self.distrust();
        }
        let outcome = self.target().publish(Arc::clone(&material), authorities).await?;
        report::lock(&outcome.lock);
        report::disowned(&outcome.disowned);
        if outcome.crowded {
            report::crowded(self.target().directory());
        }
        if let Some((trust, exposed)) = outcome.trust {
            report::trust(self.target.directory(), trust, exposed);
        }
        match outcome.published {
            Ok(published) => {
                let took = begun.elapsed();
                for name in &published.taken_over {
                    info!(
                        event = "file-taken-over",
                        file = name,
                        "took over a plain file of another helper: it is a link now"
                    );
                }
                self.publish_again = None;
                self.generation += 1;
                self.published().await?;
                if !self.target().is_intact().await? {
                    // Somebody changed the set before the events were settled, and a reload would hand that to PostgreSQL.
                    let difference = self.target().difference().await?;
                    report::changed(difference.as_ref(), " at once");
                    self.attempts.idle().for_each(Consumer::give_up);
                    self.disturbed(&material);
                    return Ok(self.target().sweep(timing::now()).await?);
                }
                self.unswept = true;
                self.attempts.delivery_begins(begun, self.generation);
                self.hand_over(&self.attempts.all(), Some(took));
                self.judge_order().await;
                self.sweep().await?;
            }
            Err(error) if error.needs_restart() => return Err(Error::Directory(error)),
            Err(error) => {
                self.attempts.idle().for_each(Consumer::give_up);
                let intact = self.target().is_intact().await?;
                self.exhausted = error.is_exhaustion();
                self.displaced = !intact && !self.exhausted;
                self.publication_failed(error, &material);
                if self.displaced {
                    self.restore_links().await?;
                }
            }
        }
        Ok(())
    }

    /// Removes the generations that nobody needs any more. The one before stays in any case: it is the last good set until
    /// this one is verified.
    pub(super) async fn sweep(&mut self) -> Result<(), Error> {
        if !self.attempts.is_running() && std::mem::take(&mut self.unswept) {
            self.target().sweep(timing::now()).await?;
        }
        Ok(())
    }
}
