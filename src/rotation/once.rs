//! Publishes one set and ends: for `fetch`. It publishes like the loop, but without its turns.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::pace::PublicationBudget;
use super::{Error, Rotation};
use crate::material::Material;
use crate::publish;
use crate::source::SourceState;
use crate::text::sentence;
use crate::timing;

/// How long the agent may take to say whether a young set is its newest, before the set is enough. Agents on the same machine
/// answer within milliseconds.
const MOMENT: Duration = Duration::from_secs(2);

/// What is requested.
#[derive(Debug, Clone, Copy)]
pub struct Once {
    /// Whether only what the agent offers now counts, even if a valid set is published.
    pub fresh: bool,
    /// How long the agent may take if others may put an older set back; elsewhere it is two seconds.
    pub exposed: Duration,
}

/// Who published the present set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedBy {
    /// This call.
    Fresh,
    /// An earlier run, and the agent has confirmed that it is the newest.
    Earlier,
    /// An earlier run, and the agent could not be asked; more than half of its lifetime is left.
    Unconfirmed,
}

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    /// The set cannot be written.
    #[error(transparent)]
    Directory(publish::Error),
    /// Another program changed the published files immediately after their publication.
    #[error(
        "the published files were changed by somebody else at once: let nobody else write to the directory"
    )]
    Disturbed,
    /// The loop cannot continue.
    #[error(transparent)]
    Loop(#[from] Error),
    /// The source has ended.
    #[error("the connection to the agent ended")]
    SourceEnded,
}

impl Rotation {
    /// Publishes what the agent offers now. A published set with more than half of its lifetime left is enough if the agent
    /// does not answer soon. `source` must run at the same time.
    ///
    /// A failed publication is not retried.
    pub async fn once(mut self, asked: Once) -> Result<(Arc<Material>, PublishedBy), NotPublished> {
        // One set is published, so the limit on how often changes of the agent are published does not apply.
        self.pace = PublicationBudget::new(Duration::ZERO);
        // An adopted set may be published again at once, with files that are configured differently now.
        let before = self.generation;
        self.begin().await?;
        self.adopt().await?;
        self.fails()?;
        let existing = self.published.as_ref().map(|it| Arc::clone(&it.material));
        let young = existing.filter(|it| !asked.fresh && is_young(it, timing::now()));
        if let Some(young) = young {
            let exposed = self.target().is_exposed().await.map_err(Error::from)?;
            let limit = if exposed { asked.exposed } else { MOMENT };
            if let Err(reason) = self.answer(Instant::now() + limit).await {
                if exposed {
                    warn!(
                        event = "older-set-possible",
                        answer = sentence(&reason),
                        "others may have put an older set back, and the agent could not be asked for the newest one"
                    );
                } else {
                    info!(
                        event = "agent-not-asked",
                        answer = sentence(&reason),
                        "the agent could not be asked whether the published set is the newest; more than half of its lifetime is left, which is enough"
                    );
                }
                return Ok((young, PublishedBy::Unconfirmed));
            }
        } else {
            self.received().await?;
        }
        self.follow_source().await?;
        self.fails()?;
        let published = self.published.ok_or(NotPublished::Disturbed)?;
        let by = if self.generation > before { PublishedBy::Fresh } else { PublishedBy::Earlier };
        Ok((published.material, by))
    }

    /// The error that keeps the set from being published, if there is one.
    fn fails(&mut self) -> Result<(), NotPublished> {
        match self.unpublished.take() {
            Some(error) => Err(NotPublished::Directory(error)),
            None if self.publish_again.is_some() => Err(NotPublished::Disturbed),
            None => Ok(()),
        }
    }

    /// Waits until the agent has sent an identity.
    async fn received(&mut self) -> Result<(), NotPublished> {
        let has_come = |state: &SourceState| state.identity.current().is_some();
        match self.source.wait_for(has_come).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NotPublished::SourceEnded),
        }
    }

    /// Waits until the agent has sent an identity, or said that it has none; returns why there is none.
    async fn answer(&mut self, until: Instant) -> Result<(), String> {
        let is_answer =
            |state: &SourceState| state.identity.current().is_some() || state.has_nothing();
        match timeout_at(until, self.source.wait_for(is_answer)).await {
            Ok(Ok(state)) if state.identity.current().is_some() => Ok(()),
            Ok(Ok(state)) => Err(state.to_string()),
            Ok(Err(_)) => Err(NotPublished::SourceEnded.to_string()),
            Err(_) => Err("it has not answered in time".to_owned()),
        }
    }
}

/// Whether more than half of its lifetime is left.
#[must_use]
pub fn is_young(material: &Material, now: SystemTime) -> bool {
    let life =
        material.not_after().duration_since(material.leaf().not_before()).unwrap_or_default();
    material.not_after().duration_since(now).is_ok_and(|left| left > life / 2)
}
