//! Reports changes in directories: the agent's socket appears, a published file is edited.
//!
//! One inotify instance serves the whole process, because a user may have few of them (128 by default), and a node runs many
//! pods with one user ID. Reading a file is no event, so readers do not wake the process. If the kernel gives no instance, or
//! no more watches, a [`Changes`] stays silent, and its owner's timers do the work.
//!
//! Anybody who may write to a watched directory can cause any number of events. The first is passed on at once; during a
//! flood, events are passed on together, a few times a second. The kernel drops what it has no room for, and reports that: an
//! overflow counts as a change everywhere.

mod pace;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{Event, EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::sleep;
use tracing::{info, warn};

pub use crate::files::{ResolvedPath, resolve_path};
use pace::BatchPauses;

/// Holds the process's only inotify instance, and creates [`Changes`].
#[derive(Clone)]
pub struct Watching(Option<Arc<Shared>>);

struct Shared {
    watches: Watches,
    /// Whether the kernel has refused a watch.
    lacking: AtomicBool,
    /// Whether that was reported.
    said: AtomicBool,
    watchers: Mutex<HashMap<u64, Watcher>>,
}

struct Watcher {
    paths: Vec<PathBuf>,
    armed: Vec<WatchDescriptor>,
    changed: watch::Sender<u64>,
}

/// The result of some events together.
#[derive(Default)]
struct Happened {
    places: HashSet<WatchDescriptor>,
    /// Events were lost, and nobody knows which.
    overflow: bool,
    events: u32,
}

impl Happened {
    fn add(&mut self, event: &Event<OsString>) {
        self.events += 1;
        self.overflow |= event.mask.contains(EventMask::Q_OVERFLOW);
        self.places.insert(event.wd.clone());
    }
}

impl Watching {
    /// Opens the inotify instance, and returns it with the task that passes its events on.
    ///
    /// The task ends only when the kernel's event stream does.
    pub fn start() -> io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let inotify = Inotify::init()?;
        let shared = Arc::new(Shared {
            watches: inotify.watches(),
            lacking: AtomicBool::new(false),
            said: AtomicBool::new(false),
            watchers: Mutex::default(),
        });
        let task = hand_on(inotify.into_event_stream(BUFFER)?, Arc::clone(&shared));
        Ok((Self(Some(shared)), task))
    }

    /// Whether there is no inotify instance, so that no change is reported. See [`Self::blind`].
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.0.is_none()
    }

    /// A substitute if the kernel gives no instance: its [`Changes`] stay silent.
    #[must_use]
    pub fn blind() -> Self {
        Self(None)
    }

    /// Watches directories. If one does not exist, its nearest ancestor is watched until it does.
    #[must_use]
    pub fn directories(&self, paths: impl IntoIterator<Item = PathBuf>) -> Changes {
        let (changed, receiver) = watch::channel(0);
        let Some(shared) = &self.0 else {
            return Changes { receiver, _sender: Some(changed), id: 0, shared: None };
        };
        let mut watcher =
            Watcher { paths: paths.into_iter().collect(), armed: Vec::new(), changed };
        shared.arm(&mut watcher);
        let id = fastrand::u64(..);
        shared.watchers().insert(id, watcher);
        Changes { receiver, _sender: None, id, shared: Some(Arc::clone(shared)) }
    }
}

/// How often the kernel is asked again for refused watches: another process of the user may have ended.
const LACKING: Duration = Duration::from_secs(5);
/// Buffer for one read.
const BUFFER: [u8; 4096] = [0; 4096];

/// Waits for events and passes them on, until the kernel's stream ends.
async fn hand_on(mut stream: EventStream<[u8; BUFFER.len()]>, shared: Arc<Shared>) {
    let mut pace = BatchPauses::default();
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = sleep(LACKING), if shared.lacking.load(Ordering::Relaxed) => {
                shared.try_again();
                continue;
            }
        };
        let Some(Ok(event)) = event else { return };
        let mut happened = Happened::default();
        happened.add(&event);
        // Reads what else has arrived. tokio would pause the task after some of them.
        while let Some(Some(Ok(event))) = unconstrained(stream.next()).now_or_never() {
            happened.add(&event);
            if happened.events == pace::BATCH {
                // Other events of the same read are dropped.
                happened.overflow = true;
                break;
            }
        }
        shared.hand_on(&happened);
        // While it is registered with the runtime, each event wakes the process, whether anybody waits for it or not.
        let inotify = stream.into_inotify();
        sleep(pace.pause(happened.events)).await;
        let Ok(registered) = inotify.into_event_stream(BUFFER) else { return };
        stream = registered;
    }
}

impl Shared {
    fn watchers(&self) -> MutexGuard<'_, HashMap<u64, Watcher>> {
        // A panic elsewhere leaves the map consistent; no change is half done in it.
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_on(&self, happened: &Happened) {
        for watcher in self.watchers().values_mut() {
            if happened.overflow || watcher.armed.iter().any(|it| happened.places.contains(it)) {
                self.arm(watcher);
                watcher.changed.send_modify(|count| *count += 1);
            }
        }
    }

    /// Watches what the kernel refused before. It counts as changed, because anything may have happened there.
    fn try_again(&self) {
        self.lacking.store(false, Ordering::Relaxed);
        for watcher in self.watchers().values_mut() {
            let before = watcher.armed.clone();
            self.arm(watcher);
            if watcher.armed != before {
                watcher.changed.send_modify(|count| *count += 1);
            }
        }
        if !self.lacking.load(Ordering::Relaxed) {
            self.said.store(false, Ordering::Relaxed);
            info!(event = "watches-restored", "the kernel watches all directories again");
        }
    }

    /// Watches those of a watcher's paths that exist now. The kernel returns the same descriptor for the same inode.
    fn arm(&self, watcher: &mut Watcher) {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        watcher.armed = watcher
            .paths
            .iter()
            .filter_map(|path| path.ancestors().find_map(|path| self.watch(path, mask)))
            .collect();
    }

    /// Watches a directory, if it exists and the kernel has a watch left for it.
    fn watch(&self, path: &Path, mask: WatchMask) -> Option<WatchDescriptor> {
        let error = match self.watches.clone().add(path, mask) {
            Ok(descriptor) => return Some(descriptor),
            Err(error) => error,
        };
        // The limit applies to all processes of the user.
        if error.kind() == io::ErrorKind::StorageFull
            && !self.lacking.swap(true, Ordering::Relaxed)
            && !self.said.swap(true, Ordering::Relaxed)
        {
            warn!(
                event = "watches-exhausted",
                path = %path.display(),
                fix = "raise fs.inotify.max_user_watches, for example: sysctl -w fs.inotify.max_user_watches=1048576",
                "the kernel watches no more directories for this user: pgsvid only finds changes at intervals"
            );
        }
        None
    }
}

/// Changes in one set of directories, combined.
pub struct Changes {
    receiver: watch::Receiver<u64>,
    /// Keeps the channel of a blind watcher open, so that it stays silent instead of ending.
    _sender: Option<watch::Sender<u64>>,
    id: u64,
    shared: Option<Arc<Shared>>,
}

impl Changes {
    /// Waits until something has changed since the last call. Safe to cancel.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Treats all changes so far as seen.
    pub fn settle(&mut self) {
        self.receiver.mark_unchanged();
    }

    /// Watches another set of directories from now on.
    pub fn follow(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let Some(shared) = &self.shared else { return };
        if let Some(watcher) = shared.watchers().get_mut(&self.id) {
            watcher.paths = paths.into_iter().collect();
            shared.arm(watcher);
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.watchers().remove(&self.id);
        }
    }
}

/// The directory that contains `path`.
#[must_use]
pub fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn soon(changes: &mut Changes) -> bool {
        tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn sees_files_come_and_ignores_reads() {
        let directory = tempfile::tempdir().unwrap();
        let (watching, task) = Watching::start().unwrap();
        tokio::spawn(task);
        let mut changes = watching.directories([directory.path().to_owned()]);
        let file = directory.path().join("socket");
        drop(std::fs::File::create(&file).unwrap());
        assert!(soon(&mut changes).await);
        // Creating and closing may have arrived as two events.
        while tokio::time::timeout(Duration::from_millis(200), changes.changed()).await.is_ok() {}
        std::fs::read(&file).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(200), changes.changed()).await.is_err());
    }

    #[tokio::test]
    async fn waits_for_a_directory_that_does_not_exist() {
        let directory = tempfile::tempdir().unwrap();
        let (watching, task) = Watching::start().unwrap();
        tokio::spawn(task);
        let inner = directory.path().join("a/b");
        let mut changes = watching.directories([inner.clone()]);
        std::fs::create_dir(directory.path().join("a")).unwrap();
        assert!(soon(&mut changes).await);
        std::fs::create_dir(&inner).unwrap();
        assert!(soon(&mut changes).await);
        drop(std::fs::File::create(inner.join("socket")).unwrap());
        assert!(soon(&mut changes).await);
    }

    #[tokio::test]
    async fn a_blind_watcher_stays_silent() {
        let mut changes = Watching::blind().directories([PathBuf::from("/")]);
        let waited = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
        assert!(waited.is_err());
    }
}
