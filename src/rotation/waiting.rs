//! What the loop waits for, and no sooner than it should.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::source::SourceState;
use crate::watching::Changes;

/// How long a rotation that has begun may go on after the end has been asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Waits for news of the source, but not before `moment`.
pub(super) async fn changed_after(
    moment: Instant,
    source: &mut watch::Receiver<SourceState>,
) -> Result<(), watch::error::RecvError> {
    sleep_until(moment).await;
    source.changed().await
}

/// Waits until somebody asks for everything again, but not before `moment`: each reload wakes every backend.
pub(super) async fn asked_after(moment: Instant, again: &Notify) {
    sleep_until(moment).await;
    again.notified().await;
}

/// Waits until somebody touches the published files, but not before `moment`: whoever fights us for them must not
/// make us spin.
pub(super) async fn touched_after(moment: Instant, files: &mut Changes) {
    sleep_until(moment).await;
    files.changed().await;
}

/// Waits until then, and for ever if there is no such moment.
pub(super) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Ends [`GRACE`] after the end has been asked for.
pub(super) async fn grace(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(GRACE).await;
}
