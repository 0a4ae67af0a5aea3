//! A client that connects again and again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::eventually;

/// An attempt that is repeated without a pause in its own thread.
#[derive(Debug)]
pub struct ConnectLoop {
    stop: Arc<AtomicBool>,
    attempts: Arc<AtomicU64>,
    worker: Option<JoinHandle<Counts>>,
}

/// The results of the attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many succeeded.
    pub succeeded: u64,
    /// How often each message was the reason for a failure.
    pub failures: BTreeMap<String, u64>,
}

impl ConnectLoop {
    /// Starts to repeat the attempt, which returns why it failed.
    pub fn start(mut attempt: impl FnMut() -> Result<(), String> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let (stop, attempts) = (Arc::clone(&stop), Arc::clone(&attempts));
            move || {
                let mut counts = Counts::default();
                while !stop.load(Ordering::Relaxed) {
                    match attempt() {
                        Ok(()) => counts.succeeded += 1,
                        Err(message) => *counts.failures.entry(message).or_default() += 1,
                    }
                    attempts.fetch_add(1, Ordering::Relaxed);
                }
                counts
            }
        });
        Self { stop, attempts, worker: Some(worker) }
    }

    /// How many attempts have ended.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Waits until that many attempts have ended.
    #[track_caller]
    pub fn wait_for_attempts(&self, count: u64, limit: Duration) {
        eventually(limit, format_args!("{count} attempts"), || self.attempts() >= count);
    }

    /// Stops after the running attempt, and returns the counts.
    pub fn stop(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        let worker = self.worker.take().expect("stops once");
        worker.join().expect("an attempt does not panic")
    }
}

impl Drop for ConnectLoop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Counts {
    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} succeeded, {} failed", self.succeeded, self.failed())?;
        for (message, count) in &self.failures {
            write!(formatter, "\n{count} times: {message}")?;
        }
        Ok(())
    }
}
