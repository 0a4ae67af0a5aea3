//! Renews SVIDs and authorities when their time has come.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::shared::Shared;

const RETRY: Duration = Duration::from_secs(1);

/// Runs for ever; the runtime's end stops it.
pub(crate) async fn renew(shared: Arc<Shared>) {
    if !shared.settings.automatic {
        return;
    }
    loop {
        // Made before the state is looked at, so that no change of it is missed.
        let changed = shared.changed.notified();
        let due = shared.state().next_due();
        tokio::select! {
            () = changed => continue,
            () = sleep_until(due) => {}
        }
        let renewed = shared.state().renew(Instant::now());
        if renewed.is_err() {
            // What was issued once can be issued again: the system lacks randomness. The SVIDs may
            // expire, which workloads have to cope with anyway.
            sleep(RETRY).await;
        }
    }
}
