//! What the loop waits for, and no sooner than it should.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::pace::Change;
use super::{Error, Rotation, SHORTEST_INTERVAL, report};
use crate::material::Material;
use crate::source::{Identity, SourceState};
use crate::timing;

/// How long a rotation that has begun may go on after the end has been asked for.
const GRACE: Duration = Duration::from_secs(5);
/// How long newer material waits for the one before to be handed over.
const PATIENCE: Duration = Duration::from_secs(10);

impl Rotation {
    /// Whether an identity is another one that follows too many.
    pub(super) async fn has_to_wait(&mut self, material: &Arc<Material>) -> Result<bool, Error> {
        let Some(wanted) = self.wanted.clone() else { return Ok(false) };
        if self.holds(material).await? {
            return Ok(false);
        }
        let same = wanted.authorities().eq(material.authorities());
        let change = if same { Change::Leaf } else { Change::Authorities };
        let valid_for = wanted.not_after().duration_since(timing::now()).unwrap_or_default();
        self.later = self.pace.take(change, valid_for).err();
        if self.later.is_none() {
            self.pace.said &= !self.pace.is_at_rest();
            return Ok(false);
        }
        // So often it is looked at what has come meanwhile.
        self.not_before = Instant::now() + SHORTEST_INTERVAL;
        if !std::mem::replace(&mut self.pace.said, true) {
            report::paced(self.pace.every());
        }
        Ok(true)
    }
}

/// Ends when the source has brought another identity than the one that is being handed over, but not before that has had
/// [`PATIENCE`]: a server that answers slowly, or seems to, must not keep back what is published next.
pub(super) async fn superseded(mut source: watch::Receiver<SourceState>, wanted: &Material) {
    sleep(PATIENCE).await;
    while source.changed().await.is_ok() {
        if matches!(&source.borrow_and_update().identity,
            Identity::Current(newest) if !newest.publishes_as(wanted))
        {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Ends [`GRACE`] after the end has been asked for.
pub(super) async fn grace(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(GRACE).await;
}
