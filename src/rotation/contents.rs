//! The contents of the published directory: the set of an earlier run, and what others have changed or created there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Error, Rotation, report};
use crate::publish::{self, Restored};
use crate::text::ascii;
use crate::timing;

/// The shortest time between two examinations of others' changes while nothing can be published: the changes may never stop.
const PAUSE: Duration = Duration::from_secs(1);

const LINKS_CHANGED: &str = "somebody has changed the links to the published files, and pgsvid cannot publish them again at the moment";

const MAY_BE_REPLACED: &str = "others could have replaced the published files before pgsvid started, and PostgreSQL has not read them again yet";

impl Rotation {
    /// Marks the set as unproven if other users can rename its files: PostgreSQL may have read other files before this
    /// process started to check.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let exposed = self.target().is_exposed().await?;
        if exposed && !self.attempts.is_empty() {
            self.disturbance.suspect();
            self.status.send_modify(|status| status.displaced = Some(MAY_BE_REPLACED.to_owned()));
        }
        Ok(())
    }

    /// Adopts the set that an earlier run has left, if there is one, so that nobody has to wait for the agent. An expired set
    /// is checked at the servers, too, and its expiry is logged.
    pub(super) async fn adopt(&mut self) -> Result<(), Error> {
        let expectations = self.expectations.clone();
        let existing = self.target().existing(expectations, timing::now()).await?;
        self.begin_with(existing).await
    }

    async fn begin_with(&mut self, existing: publish::Existing) -> Result<(), Error> {
        report::disowned(&existing.disowned);
        match existing.set {
            Ok(Some(material)) if material.not_after() <= timing::now() => {
                let fix = match self.source.borrow().files() {
                    None => {
                        "check that the agent runs, is healthy, and has an entry for this workload"
                            .to_owned()
                    }
                    Some(files) => files.remedy(),
                };
                warn!(
                    event = "set-expired",
                    spiffe_id = material.spiffe_id().map(|id| ascii(&id.to_string())),
                    names = material.other_names().as_deref().map(ascii),
                    serial = material.leaf().serial().short(),
                    not_after = timing::utc(material.not_after()),
                    fix,
                    "the set of an earlier run has expired; it stays until there is a newer one"
                );
                // Readers find it, and PostgreSQL may serve it: that is reported.
                self.wanted = Some(Arc::new(material));
                self.published().await?;
                self.hand_over(&self.attempts.all(), None);
                self.judge_order().await;
            }
            Ok(Some(material)) => {
                info!(
                    event = "set-adopted",
                    spiffe_id = material.spiffe_id().map(|id| ascii(&id.to_string())),
                    names = material.other_names().as_deref().map(ascii),
                    serial = material.leaf().serial().short(),
                    not_after = timing::utc(material.not_after()),
                    "the set of an earlier run is still valid"
                );
                let material = Arc::new(material);
                // A run that was killed may have left generations.
                self.unswept = true;
                let holds = self.holds(&material).await?;
                // Where nothing can be written, the attempt to publish says so now, and not at the renewal.
                let (locked, intact) = self.target().look().await?;
                let as_configured = holds && intact && locked.is_ok();
                self.wanted = Some(material);
                if as_configured {
                    self.published().await?;
                    self.hand_over(&self.attempts.all(), None);
                    self.judge_order().await;
                } else {
                    // A link is missing, or modes, group or other files are configured differently now. What waits for a set
                    // waits for these files, too, unless they cannot be written.
                    self.rotate().await?;
                    if self.status.borrow().published.is_none() {
                        self.published().await?;
                    }
                }
            }
            Ok(None) => {}
            Err(error) => self.cannot_read(&error),
        }
        Ok(())
    }

    /// Checks the published set. Changed files are written again; if that is impossible for the moment, the links are
    /// restored. Returns whether PostgreSQL may be asked to read the set: it is pgsvid's own.
    pub(super) async fn look(&mut self) -> Result<bool, Error> {
        if self.generation == 0 && self.status.borrow().published.is_none() {
            self.look_for_planted().await?;
            return Ok(false);
        }
        let (locked, intact) = self.target().look().await?;
        report::lock(&locked);
        // If another pgsvid has the lock, that is reported as what keeps this one from publishing.
        if intact && (locked.is_ok() || self.publish_again.is_some()) {
            if self.displaced && !self.disturbance.is_pending() {
                self.displaced = false;
                self.status.send_modify(|status| status.displaced = None);
            }
            return Ok(!self.displaced);
        }
        if self.publish_again.is_none() {
            if !intact {
                let difference = self.target().difference().await?;
                report::changed(difference.as_ref(), "");
            }
            let without_end = if self.is_undisturbed().await? {
                !intact && self.disturbance.note_change()
            } else {
                self.distrust()
            };
            if without_end && let Some(material) = self.wanted.clone() {
                self.publish_in_a_while(&material);
                return Ok(false);
            }
            // On the heap, because it happens rarely, and otherwise the future of the loop would always be as large as with it.
            Box::pin(self.rotate()).await?;
            return Ok(false);
        }
        self.displaced = true;
        // A set that was replaced and put back needs no restored links, because it will be published again.
        let leave_it = self.disturbance.waits && self.target().is_in_order().await?;
        if self.exhausted || leave_it {
            return Ok(false);
        }
        self.status.send_modify(|status| status.displaced = Some(LINKS_CHANGED.to_owned()));
        if Instant::now() >= self.quiet_until {
            self.quiet_until = Instant::now() + PAUSE;
            self.restore_links().await?;
        }
        Ok(false)
    }

    /// Restores the links of the published set, and hands it over, because PostgreSQL may have read through links of others.
    /// Returns whether the set is as it was left.
    pub(super) async fn restore_links(&mut self) -> Result<bool, Error> {
        let Restored { was, is, disowned } = self.target().restore_links().await?;
        report::disowned(&disowned);
        if !was && is {
            warn!(event = "links-changed", "{LINKS_CHANGED}; pgsvid restores the links");
            self.files.settle();
            self.displaced = false;
            self.distrust();
            // PostgreSQL reads the set again each time, so the next repair has to wait: others may change the links again and
            // again.
            self.quiet_until = Instant::now() + self.disturbance.delay();
            self.hand_over(&self.attempts.all(), None);
        }
        Ok(is)
    }

    /// Examines what others have put at the published names while no set is published, because PostgreSQL would start from
    /// it. A usable set is adopted.
    async fn look_for_planted(&mut self) -> Result<(), Error> {
        self.quiet_until = Instant::now() + PAUSE;
        let expectations = self.expectations.clone();
        let existing = self.target().look_again(expectations, timing::now()).await?;
        self.begin_with(existing).await
    }

    /// Reports once that the contents can be neither read nor removed.
    pub(super) fn cannot_read(&mut self, error: &publish::Error) {
        let key = error.key();
        if self.unreadable.as_ref() != Some(&key) {
            error!(event = "foreign-files-stay", %error, "the contents of the published directory can be neither used nor removed");
            self.unreadable = Some(key);
        }
    }
}
