//! How long to pause after events, so that a flood costs next to nothing and a single event does not wait.

use std::time::Duration;

use tokio::time::Instant;

/// Most events that are passed on together: as many as the kernel buffers by default (`fs.inotify.max_queued_events`).
pub(super) const BATCH: u32 = 16_384;
/// The pause for each event: at most 20,000 are read in a second.
const EACH: Duration = Duration::from_micros(50);
/// The first pause, and the longest for batches in a row, however small.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// After this time without an event, pauses start over.
const QUIET: Duration = Duration::from_secs(1);

/// The state of the pauses.
#[derive(Default)]
pub(super) struct BatchPauses {
    last: Option<(Instant, Duration)>,
}

impl BatchPauses {
    /// The pause after a batch of this many events.
    pub(super) fn pause(&mut self, events: u32) -> Duration {
        let now = Instant::now();
        let (first, longest) = PAUSES;
        let pause = match self.last {
            Some((end, pause)) if now.saturating_duration_since(end) < QUIET => {
                (pause * 2).min(longest)
            }
            _ => first,
        };
        let whole = pause.max(EACH * events);
        self.last = Some((now + whole, pause));
        whole
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a16_a_flood_of_changes_is_read_ten_times_a_second_and_a_single_change_at_once() {
        let mut pace = BatchPauses::default();
        for batch in [1, 20, BATCH] {
            let begun = Instant::now();
            let mut batches = 0;
            while begun.elapsed() < Duration::from_secs(100) {
                sleep(pace.pause(batch)).await;
                batches += 1;
            }
            assert!(batches <= 1010, "{batches} of {batch}");
            assert!(batches * batch <= 2_100_000, "{batches} of {batch}");
        }
        for _ in 0..10 {
            advance(QUIET).await;
            assert_eq!(pace.pause(1), PAUSES.0);
            advance(PAUSES.0).await;
        }
    }
}
