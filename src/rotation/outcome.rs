//! What has come of a publication: the set that readers find, or why there is no newer one.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Error, PUBLISH_AGAIN, Rotation, record, report};
use crate::material::{Certificate, Material};
use crate::publish;
use crate::status::Published;
use crate::timing::Backoff;

/// A published set.
#[derive(Clone)]
pub(super) struct Set {
    pub(super) material: Arc<Material>,
    pub(super) extra_authorities: Vec<Certificate>,
}

/// Why a set is not published.
pub(super) struct Unpublished {
    /// Tells one reason from the next; free of times.
    key: String,
    /// The same in words.
    pub(super) why: String,
}

impl Rotation {
    pub(super) async fn published(&mut self) -> Result<(), Error> {
        let paths = self.with_publisher(|publisher| publisher.watched_paths()).await?;
        self.files.follow(paths);
        // Our own changes are no news.
        self.files.settle();
        self.displaced = false;
        let Some(material) = self.wanted.clone() else { return Ok(()) };
        let disturbed = self.disturbance.is_pending();
        let extra_authorities = self.authorities.beside(&material);
        let published = Published::of(&material, &extra_authorities, self.generation);
        self.published = Some(Set { material, extra_authorities });
        self.unpublished = None;
        self.status.send_modify(|status| {
            status.published = Some(published);
            status.problem = None;
            if !disturbed {
                status.displaced = None;
            }
            status.findings.clear();
        });
        Ok(())
    }

    pub(super) fn publication_failed(&mut self, error: &publish::Error, material: &Material) {
        let (first, longest) = PUBLISH_AGAIN;
        let (_, mut backoff) =
            self.publish_again.take().unwrap_or((Instant::now(), Backoff::new(first, longest)));
        let delay = backoff.delay();
        self.publish_again = Some((Instant::now() + delay, backoff));
        let text = error.to_string();
        let key = error.key();
        let repeated = self.unpublished.as_ref().is_some_and(|before| before.key == key);
        report::publication_failed(&text, delay, repeated);
        self.unpublished = Some(Unpublished { key, why: text.clone() });
        let retry = record::due(self.publish_again.as_ref().map(|(at, _)| *at));
        let generation = self.generation + 1;
        let displaced = self.displaced.then(|| text.clone());
        let disturbed = self.disturbance.is_pending();
        self.status.send_modify(|status| {
            record::unpublished(status, material, generation, &text, retry);
            if displaced.is_some() || !disturbed {
                status.displaced = displaced;
            }
        });
    }
}
