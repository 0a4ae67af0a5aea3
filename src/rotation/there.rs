//! What is in the published directory: the set of an earlier run, what others have changed, and what they have put there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Error, Rotation, report};
use crate::material::Material;
use crate::publish;
use crate::text::ascii;
use crate::timing;

/// How often what others do there is looked at while nothing can be published: they may go on without end.
const PAUSE: Duration = Duration::from_secs(1);

const TURNED: &str = "somebody has changed the links to the published files, and they cannot be published again for the moment";

const BEFORE: &str = "others could have exchanged the published files before pgsvid was started, and PostgreSQL has not read them again yet";

impl Rotation {
    /// Where others may rename, PostgreSQL may have read something else before this process has begun to look.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let exposed = self.with_publisher(|publisher| publisher.is_exposed()).await?;
        if exposed && !self.attempts.is_empty() {
            self.disturbance.suspect();
            self.status.send_modify(|status| status.displaced = Some(BEFORE.to_owned()));
        }
        Ok(())
    }

    /// A valid set of an earlier run counts at once: nobody has to wait for the agent.
    pub(super) async fn adopt(&mut self) -> Result<(), Error> {
        let expectations = self.expectations.clone();
        let existing = self
            .with_publisher(move |publisher| {
                let existing = publisher.existing_or_expired(&expectations, timing::now());
                report::disowned(&publisher.take_disowned());
                existing
            })
            .await?;
        self.begin_with(existing).await
    }

    async fn begin_with(
        &mut self,
        existing: Result<Option<Material>, publish::Error>,
    ) -> Result<(), Error> {
        match existing {
            Ok(Some(material)) if material.not_after() <= timing::now() => {
                warn!(
                    event = "set-expired",
                    spiffe_id = ascii(&material.spiffe_id().to_string()),
                    serial = material.leaf().serial().short(),
                    not_after = timing::utc(material.not_after()),
                    fix = "see that the agent runs, is healthy, and has an entry for this workload",
                    "the set of an earlier run has expired, and stays until the agent has sent a newer one"
                );
                // It is what readers find, and what PostgreSQL may serve: that is told.
                self.wanted = Some(Arc::new(material));
                self.published().await?;
                self.hand_over(&self.attempts.all(), None);
            }
            Ok(Some(material)) => {
                info!(
                    event = "set-adopted",
                    spiffe_id = ascii(&material.spiffe_id().to_string()),
                    serial = material.leaf().serial().short(),
                    not_after = timing::utc(material.not_after()),
                    "the set of an earlier run is still valid"
                );
                let material = Arc::new(material);
                let as_configured = self.holds(&material).await?
                    && self.with_publisher(|publisher| publisher.is_intact()).await?;
                self.wanted = Some(material);
                self.published().await?;
                if as_configured {
                    self.hand_over(&self.attempts.all(), None);
                } else {
                    // A link is missing, or modes, group or companions are configured otherwise than then.
                    self.rotate().await?;
                }
            }
            Ok(None) => {}
            Err(error) => self.cannot_read(&error),
        }
        Ok(())
    }

    /// Looks at the published set. What is not as we left it is written again, or its links are made anew where that is not
    /// possible for the moment. Returns whether PostgreSQL may be told to read what is there: it is ours.
    pub(super) async fn look(&mut self) -> Result<bool, Error> {
        if self.generation == 0 && self.status.borrow().published.is_none() {
            self.look_for_planted().await?;
            return Ok(false);
        }
        let (locked, intact) = self
            .with_publisher(|publisher| (publisher.keep_locked(), publisher.is_intact()))
            .await?;
        report::lock(&locked);
        // Another pgsvid that has the lock is told as what keeps this one from publishing.
        if intact && (locked.is_ok() || self.publish_again.is_some()) {
            if self.displaced && !self.disturbance.is_pending() {
                self.displaced = false;
                self.status.send_modify(|status| status.displaced = None);
            }
            return Ok(!self.displaced);
        }
        if self.publish_again.is_none() {
            if !intact {
                warn!(
                    event = "files-changed",
                    "the published files were changed by somebody else; publishing them again"
                );
            }
            if !self.is_undisturbed().await?
                && self.distrust()
                && let Some(material) = self.wanted.clone()
            {
                self.publish_in_a_while(&material);
                return Ok(false);
            }
            // On the heap: it is rare, and the loop's own state would have room for it all the time.
            Box::pin(self.rotate()).await?;
            return Ok(false);
        }
        self.displaced = true;
        // What is only exchanged and exchanged back is not to be made again, since it will be published anew.
        let leave_it = self.disturbance.waits
            && self.with_publisher(|publisher| publisher.is_in_order()).await?;
        if self.exhausted || leave_it {
            return Ok(false);
        }
        self.status.send_modify(|status| status.displaced = Some(TURNED.to_owned()));
        if Instant::now() >= self.quiet_until {
            self.quiet_until = Instant::now() + PAUSE;
            self.restore_links().await?;
        }
        Ok(false)
    }

    /// Makes the links of the published set anew, and hands it over: PostgreSQL may have read by others' links. Returns
    /// whether the set is as it was left.
    pub(super) async fn restore_links(&mut self) -> Result<bool, Error> {
        let (was, is) = self
            .with_publisher(|publisher| {
                let was = publisher.is_intact();
                let is = was || publisher.restore_links();
                report::disowned(&publisher.take_disowned());
                (was, is)
            })
            .await?;
        if !was && is {
            warn!(event = "links-changed", "{TURNED}; the links are made again");
            self.files.settle();
            self.displaced = false;
            self.distrust();
            // Each time PostgreSQL reads again, so it is not done as often as others like.
            self.quiet_until = Instant::now() + self.disturbance.delay();
            self.hand_over(&self.attempts.all(), None);
        }
        Ok(is)
    }

    /// While there is no set of ours, PostgreSQL would start from whatever others have put at its names.
    async fn look_for_planted(&mut self) -> Result<(), Error> {
        self.quiet_until = Instant::now() + PAUSE;
        let expectations = self.expectations.clone();
        let existing = self
            .with_publisher(move |publisher| {
                let existing = publisher.look_again(&expectations, timing::now());
                report::disowned(&publisher.take_disowned());
                existing
            })
            .await?;
        self.begin_with(existing).await
    }

    /// Says once that what is there cannot be read or removed.
    pub(super) fn cannot_read(&mut self, error: &publish::Error) {
        let key = error.key();
        if self.unreadable.as_ref() != Some(&key) {
            error!(event = "foreign-files-stay", %error, "what is in the published directory can be neither used nor removed");
            self.unreadable = Some(key);
        }
    }
}
