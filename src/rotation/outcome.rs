//! Handles the result of a publication: the set that readers find, or why there is no newer one.

use tokio::time::Instant;

use super::{Error, PUBLISH_AGAIN, Rotation, record, report};
use crate::consumers::Publication;
use crate::finding::{Code, Finding};
use crate::material::{Material, Names};
use crate::publish;
use crate::status::Published;
use crate::timing::{self, Backoff};

impl Rotation {
    pub(super) async fn published(&mut self) -> Result<(), Error> {
        let paths = self.target().watched_paths().await?;
        self.files.follow(paths);
        // Events about pgsvid's own changes are ignored.
        self.files.settle();
        self.displaced = false;
        let Some(material) = self.wanted.clone() else { return Ok(()) };
        let disturbed = self.disturbance.is_pending();
        let extra_authorities = self.authorities.beside(&material);
        let names = Names::of(&material);
        let published = Published::of(&material, &extra_authorities, self.generation);
        self.published =
            Some(Publication { generation: self.generation, material, extra_authorities });
        self.unpublished = None;
        self.status.send_modify(|status| {
            status.published = Some(published);
            status.naming.published(names, timing::now());
            status.problem = None;
            status.remedy = None;
            status.retry = None;
            if !disturbed {
                status.displaced = None;
            }
        });
        Ok(())
    }

    pub(super) fn publication_failed(&mut self, error: publish::Error, material: &Material) {
        let (first, longest) = PUBLISH_AGAIN;
        let (_, mut backoff) =
            self.publish_again.take().unwrap_or((Instant::now(), Backoff::new(first, longest)));
        let delay = backoff.delay();
        self.publish_again = Some((Instant::now() + delay, backoff));
        let text = error.to_string();
        let repeated = self.unpublished.as_ref().is_some_and(|last| last.key() == error.key());
        let remedy = remedy(&error);
        report::publication_failed(&text, remedy.as_ref(), delay, repeated);
        let retry = record::due(self.publish_again.as_ref().map(|(at, _)| *at));
        let generation = self.generation + 1;
        let displaced = self.displaced.then(|| text.clone());
        let disturbed = self.disturbance.is_pending();
        self.status.send_modify(|status| {
            record::unpublished(status, material, generation, (&text, remedy), retry);
            if displaced.is_some() || !disturbed {
                status.displaced = displaced;
            }
        });
        self.unpublished = Some(error);
    }
}

/// The remedy, if it is known.
fn remedy(error: &publish::Error) -> Option<Finding> {
    let fix = error.fix()?;
    let found = Finding::failure(Code::PublishedNewest, error.to_string()).fix(fix);
    Some(found.command_if_any(error.command()))
}
