//! What has come of a publication: the set that readers find, or why there is no newer one.

use tokio::time::Instant;

use super::{Error, PUBLISH_AGAIN, Rotation, record, report};
use crate::consumers::Publication;
use crate::material::Material;
use crate::publish;
use crate::status::Published;
use crate::timing::Backoff;

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
        self.published =
            Some(Publication { generation: self.generation, material, extra_authorities });
        self.unpublished = None;
        self.status.send_modify(|status| {
            status.published = Some(published);
            status.problem = None;
            status.retry = None;
            if !disturbed {
                status.displaced = None;
            }
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
        let repeated = self.unpublished.as_ref() == Some(&key);
        report::publication_failed(&text, delay, repeated);
        self.unpublished = Some(key);
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
