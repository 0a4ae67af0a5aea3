//! The target of the loop: a directory with a publisher on a thread of its own, because writing and syncing files blocks; or
//! the source's own files, to which pgsvid writes nothing; or memory.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::{Difference, Disowned, Error, InPlace, Opened, Published, Publisher, Trust};
use crate::material::{Certificate, Expectations, Material};
use crate::threads;

type Work = Box<dyn FnOnce(&mut Publisher) + Send>;

/// Where sets are published. Each method waits for earlier requests.
///
/// The thread is created once. If a user may have no more threads (`RLIMIT_NPROC`, `pids.max`), none could be created for a
/// rotation.
pub struct Target {
    kind: Kind,
    directory: PathBuf,
}

enum Kind {
    Directory(Box<dyn Fn(Work) + Send + Sync>),
    /// The set that consumers were last given.
    InPlace(Mutex<Option<Arc<Material>>>),
    /// The same, with the authorities in addition to its own.
    Memory(Mutex<Option<Set>>),
}

type Set = (Arc<Material>, Vec<Certificate>);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The thread could not be started.
    #[error(transparent)]
    Start(threads::Refused),
    /// The thread has panicked.
    #[error("the thread that writes files has ended abnormally")]
    Ended,
}

/// The result of a publication, and what was found in the directory.
#[derive(Debug)]
pub struct Outcome {
    /// The publication, or why the old set is still published.
    pub published: Result<Published, Error>,
    /// What others could have created there. It must be reported.
    pub disowned: Vec<Disowned>,
    /// Whether others have put so many entries into the directory that not all were examined, which must be reported.
    pub crowded: bool,
    /// Whether the lock was lost, and taken again.
    pub lock: Result<bool, Error>,
    /// What others can do in the directory, if that has changed; and whether they may rename published files.
    pub trust: Option<(Trust, bool)>,
}

impl Outcome {
    /// Nothing is written: the source has found the set, which consumers read where it is.
    fn in_place() -> Self {
        let published = Ok(Published { generation: String::new(), taken_over: Vec::new() });
        Self { published, disowned: Vec::new(), crowded: false, lock: Ok(false), trust: None }
    }
}

/// What was found in the directory.
#[derive(Debug)]
pub struct Existing {
    /// The set of an earlier run, if there is one that counts.
    pub set: Result<Option<Material>, Error>,
    /// What others could have created there. It must be reported.
    pub disowned: Vec<Disowned>,
}

impl Existing {
    fn none() -> Self {
        Self { set: Ok(None), disowned: Vec::new() }
    }
}

/// Whether links lead to the published set.
#[derive(Debug)]
pub struct Restored {
    /// Whether they did so before the call.
    pub was: bool,
    /// Whether they do so after the call.
    pub is: bool,
    /// What others could have created there. It must be reported.
    pub disowned: Vec<Disowned>,
}

impl Target {
    /// Starts the thread for a directory. Dropping the value ends it, and releases the directory for another instance.
    pub fn start(opened: Opened) -> Result<Self, Broken> {
        match opened {
            Opened::Directory(publisher) => Self::publishing(*publisher),
            Opened::InPlace(place) => Ok(Self::in_place(&place)),
            Opened::Memory => {
                Ok(Self { kind: Kind::Memory(Mutex::default()), directory: PathBuf::new() })
            }
        }
    }

    fn in_place(place: &InPlace) -> Self {
        Self { kind: Kind::InPlace(Mutex::default()), directory: place.base().to_owned() }
    }

    fn publishing(mut publisher: Publisher) -> Result<Self, Broken> {
        let directory = publisher.directory().to_owned();
        let (sender, work) = channel::<Work>();
        let run = move || work.into_iter().for_each(|work| work(&mut publisher));
        threads::start("files", "writes files", run).map_err(Broken::Start)?;
        // Once the thread has ended, requests are dropped.
        let work = Box::new(move |work| drop(sender.send(work)));
        Ok(Self { kind: Kind::Directory(work), directory })
    }

    /// Works in the caller's thread, so that a test's paused clock does not advance in the meantime.
    #[cfg(test)]
    pub(crate) fn here(publisher: Publisher) -> Self {
        let directory = publisher.directory().to_owned();
        let publisher = Mutex::new(publisher);
        let work = Box::new(move |work: Work| work(&mut publisher.lock().unwrap()));
        Self { kind: Kind::Directory(work), directory }
    }

    /// The published directory, or that of the source's certificate; empty if there are no files.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Publishes a generation. See [`Publisher::publish`].
    pub async fn publish(
        &self,
        material: Arc<Material>,
        authorities: Vec<Certificate>,
    ) -> Result<Outcome, Broken> {
        let thread = match &self.kind {
            Kind::Directory(thread) => thread,
            Kind::InPlace(given) => {
                *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(material);
                return Ok(Outcome::in_place());
            }
            Kind::Memory(given) => {
                let set = (material, authorities);
                *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(set);
                return Ok(Outcome::in_place());
            }
        };
        request(thread, move |publisher| {
            let lock = publisher.keep_locked();
            let before = (publisher.trust(), publisher.is_exposed());
            let published = publisher.publish(&material, &authorities);
            let now = (publisher.trust(), publisher.is_exposed());
            let trust = (now != before).then_some(now);
            let (disowned, crowded) = (publisher.take_disowned(), publisher.take_crowded());
            Outcome { published, disowned, crowded, lock, trust }
        })
        .await
    }

    /// Whether publishing this would change nothing. See [`Publisher::holds`].
    pub async fn holds(
        &self,
        material: Arc<Material>,
        authorities: Vec<Certificate>,
    ) -> Result<bool, Broken> {
        if let Kind::InPlace(given) = &self.kind {
            let given = given.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(given.as_ref().is_some_and(|given| given.publishes_as(&material)));
        }
        if let Kind::Memory(given) = &self.kind {
            let given = given.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(given.as_ref().is_some_and(|(given, with)| {
                given.publishes_as(&material) && *with == authorities
            }));
        }
        self.with(move |publisher| publisher.holds(&material, &authorities), false).await
    }

    /// Reads the set of an earlier run. See [`Publisher::existing_or_expired`].
    pub async fn existing(
        &self,
        expectations: Expectations,
        now: SystemTime,
    ) -> Result<Existing, Broken> {
        let work = move |publisher: &mut Publisher| {
            let set = publisher.existing_or_expired(&expectations, now);
            Existing { set, disowned: publisher.take_disowned() }
        };
        self.with(work, Existing::none()).await
    }

    /// Examines the directory again while no own set is published. See [`Publisher::look_again`].
    pub async fn look_again(
        &self,
        expectations: Expectations,
        now: SystemTime,
    ) -> Result<Existing, Broken> {
        let work = move |publisher: &mut Publisher| {
            let set = publisher.look_again(&expectations, now);
            Existing { set, disowned: publisher.take_disowned() }
        };
        self.with(work, Existing::none()).await
    }

    /// Restores the links that others have changed. See [`Publisher::restore_links`].
    pub async fn restore_links(&self) -> Result<Restored, Broken> {
        let work = |publisher: &mut Publisher| {
            let was = publisher.is_intact();
            let is = was || publisher.restore_links();
            Restored { was, is, disowned: publisher.take_disowned() }
        };
        self.with(work, Restored { was: true, is: true, disowned: Vec::new() }).await
    }

    /// Whether the published set is as it was left. See [`Publisher::is_intact`].
    pub async fn is_intact(&self) -> Result<bool, Broken> {
        self.with(|publisher| publisher.is_intact(), true).await
    }

    /// Locks the directory again if the lock was lost. Returns the result of [`Publisher::keep_locked`], then that of
    /// [`Publisher::is_intact`].
    pub async fn look(&self) -> Result<(Result<bool, Error>, bool), Broken> {
        self.with(|publisher| (publisher.keep_locked(), publisher.is_intact()), (Ok(false), true))
            .await
    }

    /// What of the published set has changed. See [`Publisher::difference`].
    pub async fn difference(&self) -> Result<Option<Difference>, Broken> {
        self.with(|publisher| publisher.difference(), None).await
    }

    /// See [`Publisher::is_in_order`].
    pub async fn is_in_order(&self) -> Result<bool, Broken> {
        self.with(|publisher| publisher.is_in_order(), true).await
    }

    /// See [`Publisher::is_undisturbed`].
    pub async fn is_undisturbed(&self) -> Result<bool, Broken> {
        self.with(|publisher| publisher.is_undisturbed(), true).await
    }

    /// See [`Publisher::is_exposed`].
    pub async fn is_exposed(&self) -> Result<bool, Broken> {
        self.with(|publisher| publisher.is_exposed(), false).await
    }

    /// The paths to watch. See [`Publisher::watched_paths`].
    pub async fn watched_paths(&self) -> Result<Vec<PathBuf>, Broken> {
        self.with(|publisher| publisher.watched_paths(), Vec::new()).await
    }

    /// Removes the generations that nobody needs any more at `now`.
    pub async fn sweep(&self, now: SystemTime) -> Result<(), Broken> {
        self.with(move |publisher| publisher.sweep(now), ()).await
    }

    /// The result of the work with the publisher; `in_place` if there is no directory of pgsvid's own.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Publisher) -> T + Send + 'static,
        in_place: T,
    ) -> Result<T, Broken> {
        let Kind::Directory(thread) = &self.kind else { return Ok(in_place) };
        request(thread, work).await
    }
}

/// Has the thread work with the publisher.
async fn request<T: Send + 'static>(
    thread: &(dyn Fn(Work) + Send + Sync),
    work: impl FnOnce(&mut Publisher) -> T + Send + 'static,
) -> Result<T, Broken> {
    let (done, outcome) = oneshot::channel();
    // If the request is dropped, `done` is dropped with it.
    thread(Box::new(move |publisher| drop(done.send(work(publisher)))));
    outcome.await.map_err(|_| Broken::Ended)
}

#[cfg(test)]
mod tests {
    use super::super::model::settings;
    use super::*;

    #[tokio::test]
    async fn a89_a_target_whose_thread_panics_is_an_error_for_all_work_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Publisher::open(settings(directory.path()));
        let target = Target::publishing(open().unwrap()).unwrap();
        assert!(!target.is_intact().await.unwrap());
        assert!(open().is_err_and(|error| error.is_locked()));
        assert!(matches!(
            target.with(|_| panic!("on purpose"), ()).await,
            Err::<(), _>(Broken::Ended)
        ));
        assert!(matches!(target.is_intact().await, Err(Broken::Ended)));
    }
}
