//! The publisher on a thread of its own: files are written and synced, which blocks.

use std::sync::mpsc::channel;

use tokio::sync::oneshot;

use super::Publisher;
use crate::threads;

type Work = Box<dyn FnOnce(&mut Publisher) + Send>;

/// A publisher that works on a thread of its own.
///
/// The thread is made once. Where a user may have no more of them (`RLIMIT_NPROC`, `pids.max`), none could be made for a
/// rotation.
pub struct Worker(Box<dyn Fn(Work) + Send + Sync>);

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// There is no thread.
    #[error(transparent)]
    Start(threads::Refused),
    /// The thread has panicked.
    #[error("the thread that writes files has ended abnormally")]
    Ended,
}

impl Worker {
    /// Starts the thread. It ends, and the directory is free for another instance, when this is dropped.
    pub fn start(mut publisher: Publisher) -> Result<Self, Broken> {
        let (sender, work) = channel::<Work>();
        let run = move || work.into_iter().for_each(|work| work(&mut publisher));
        threads::start("files", "writes files", run).map_err(Broken::Start)?;
        // Once the thread has ended, the work is dropped.
        Ok(Self(Box::new(move |work| drop(sender.send(work)))))
    }

    /// Works in the caller's thread, so that a test's own clock stands still meanwhile.
    #[cfg(test)]
    pub(crate) fn here(publisher: Publisher) -> Self {
        let publisher = std::sync::Mutex::new(publisher);
        Self(Box::new(move |work| work(&mut publisher.lock().unwrap())))
    }

    /// Has something done, after whatever was asked for before, and waits for the outcome.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Publisher) -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let (done, outcome) = oneshot::channel();
        // Where the work is dropped, `done` is dropped with it.
        (self.0)(Box::new(move |publisher| drop(done.send(work(publisher)))));
        outcome.await.map_err(|_| Broken::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::settings;
    use super::*;

    #[tokio::test]
    async fn a89_a_worker_that_panics_is_an_error_for_all_work_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Publisher::open(settings(directory.path()), Vec::new());
        let worker = Worker::start(open().unwrap()).unwrap();
        assert!(!worker.with(|publisher| publisher.is_intact()).await.unwrap());
        assert!(open().is_err_and(|error| error.is_locked()));
        assert!(matches!(worker.with(|_| panic!("on purpose")).await, Err::<(), _>(Broken::Ended)));
        assert!(matches!(worker.with(|_| ()).await, Err(Broken::Ended)));
    }
}
