//! One owner for all tasks: a long-lived task that ends or panics ends the daemon, by name.
//!
//! A release build aborts on a panic, and the name is in the line that is logged before. Other builds unwind to here.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::poll_fn;

use anyhow::{Context as _, anyhow};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

thread_local! {
    static RUNNING: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The name of the task that runs in this thread.
#[must_use]
pub fn running() -> Option<&'static str> {
    RUNNING.get()
}

/// The tasks, and the token that requests their end.
pub(super) struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), stop: CancellationToken::new() }
    }

    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that observes the token itself.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let mut task = Box::pin(task);
        let named = poll_fn(move |context| {
            let before = RUNNING.replace(Some(name));
            let polled = task.as_mut().poll(context);
            RUNNING.set(before);
            polled
        });
        let handle = self.set.spawn(named);
        self.names.insert(handle.id(), name);
    }

    /// Starts a task that may be dropped at any time once the end has been requested.
    pub(super) fn spawn_background(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let stop = self.stop();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = task => ended,
            }
        });
    }

    /// Waits for the first task that ends, which none should; returns which one and why.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        match self.set.join_next_with_id().await {
            None => Err(anyhow!("there is nothing to do")),
            Some(Ok((id, Ok(())))) => Err(anyhow!("the task \"{}\" ended", self.name(id))),
            Some(Ok((id, Err(error)))) => {
                Err(error).with_context(|| format!("the task \"{}\" failed", self.name(id)))
            }
            Some(Err(error)) => Err(self.panicked(&error)),
        }
    }

    /// Waits for all tasks, after their end was requested.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.set.join_next_with_id().await {
            match ended {
                Ok((_, outcome)) => outcome?,
                Err(error) => return Err(self.panicked(&error)),
            }
        }
        Ok(())
    }

    fn panicked(&self, error: &JoinError) -> anyhow::Error {
        anyhow!("the task \"{}\" panicked", self.name(error.id()))
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn x04_a_task_that_panics_ends_the_daemon_by_name() {
        let mut tasks = Tasks::new();
        tasks.spawn_background("idle", std::future::pending());
        tasks.spawn("rotation", async { panic!("on purpose") });
        let error = tasks.ended().await.unwrap_err().to_string();
        assert_eq!(error, "the task \"rotation\" panicked");
    }

    #[tokio::test]
    async fn b14_the_task_that_runs_is_known_by_name() {
        let mut tasks = Tasks::new();
        assert_eq!(running(), None);
        tasks.spawn("rotation", async {
            tokio::task::yield_now().await;
            anyhow::bail!("{:?}", running())
        });
        let error = format!("{:#}", tasks.ended().await.unwrap_err());
        assert!(error.ends_with("Some(\"rotation\")"), "{error}");
        assert_eq!(running(), None);
    }

    #[tokio::test]
    async fn x04_a_task_that_ends_or_fails_ends_the_daemon_by_name() {
        let mut tasks = Tasks::new();
        tasks.spawn("workload API", async { Ok(()) });
        let error = tasks.ended().await.unwrap_err().to_string();
        assert_eq!(error, "the task \"workload API\" ended");

        tasks.spawn("rotation", async { Err(anyhow!("no space")) });
        let error = format!("{:#}", tasks.ended().await.unwrap_err());
        assert_eq!(error, "the task \"rotation\" failed: no space");
    }

    #[tokio::test]
    async fn asked_to_end_all_tasks_end() {
        let mut tasks = Tasks::new();
        let stop = tasks.stop();
        tasks.spawn_background("idle", std::future::pending());
        tasks.spawn("rotation", async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.stop().cancel();
        tasks.finish().await.unwrap();
    }
}
