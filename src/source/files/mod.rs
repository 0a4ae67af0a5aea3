//! Certificate, key and bundle in files that another program writes: cert-manager, Vault Agent, step, the kubelet.
//!
//! That program writes them in its own order and pace. This room only accepts a whole set: the files of one version of a
//! volume, or files that have not changed for a while; and only if key, leaf and bundle belong together. Until then the
//! previous set stays.

mod judge;
mod layout;
mod log;
mod settling;
mod silent;
mod state;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use judge::{judge, revocation_lists, unasked_lists};
pub use layout::{Contents, Kind, Stamps, Taken, read};
use log::Log;
use settling::Settling;
pub use silent::are_silent;
pub use state::{FilesState, Writer};
pub use trouble::Trouble;

use super::{Identity, SourceDetails, SourceState};
use crate::material::{Expectations, Material, Names};
use crate::timing;
use crate::watching::{self, Changes, Watching};

/// The three files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The leaf, then its intermediates.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// The authorities.
    pub bundle: PathBuf,
}

impl Paths {
    /// In this order: certificate, key, bundle.
    #[must_use]
    pub fn all(&self) -> [&Path; 3] {
        [&self.certificate, &self.private_key, &self.bundle]
    }
}

/// Which files to read, and the rules that their set must meet.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The files.
    pub paths: Paths,
    /// The rules that a set must meet.
    pub expectations: Expectations,
    /// The names of what is published.
    pub published: Option<Names>,
    /// After which part of a certificate's life, in percent, the program that writes the files renews it.
    pub renewal_percent: u32,
    /// Whether the file system does not report changes that another machine, or a program in user space, makes.
    pub is_silent: bool,
    /// Whether PostgreSQL and libpq read these very files, and not a set that pgsvid writes itself.
    pub in_place: bool,
}

/// For how long files outside of a volume must be unchanged before they are accepted: another program may have written only some
/// of them.
const SETTLE: Duration = Duration::from_secs(1);
/// The same if the file system may round times to a second.
const SETTLE_SILENT: Duration = Duration::from_secs(2);
/// Files that are this old at the first look are no longer being written. Their times may be rounded to two seconds.
const OLD: Duration = Duration::from_secs(5);
/// How often the files are checked if the kernel does not report their changes.
const LOOK_SILENT: Duration = Duration::from_secs(5);
/// How often the files are checked if the kernel reports their changes: it reports none of directories above the watched ones.
const LOOK: Duration = Duration::from_secs(60);
/// Shortest time between two looks, however many events there are.
const SHORTEST: Duration = Duration::from_millis(100);
/// How long the files may fail to be a set before this is reported: another program may still be writing them.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same before the first set.
const PATIENCE_FIRST: Duration = Duration::from_secs(2);
/// How long reading may take: a network file system may not answer.
const READING: Duration = Duration::from_secs(10);

/// Reads the files, and publishes their set as the state of the source.
pub struct Source {
    settings: Settings,
    changes: Changes,
    state: watch::Sender<SourceState>,
    settling: Settling,
    /// The attributes of the files that were last accepted.
    accepted: Option<Stamps>,
    /// Who had written the files that were read last, whether they are a set or not.
    seen: Option<Writer>,
    /// A read of the files that has not finished yet.
    reading: Option<JoinHandle<Result<Taken, Trouble>>>,
    /// Since when the files have not been a set.
    since: Option<Instant>,
    /// Since when another program has been writing the files.
    unsettled: Option<Instant>,
    log: Log,
    /// Whether changes are only found by checking at intervals, because of the file system, or because the kernel gives no
    /// inotify instance.
    is_silent: bool,
}

/// The result of reading the files.
enum Found {
    /// A set that is accepted, now or before.
    Set,
    /// Files that another program may be writing; read them again at this time.
    Unsettled(Instant),
    /// Files that are not a set.
    None(Trouble),
}

impl Source {
    /// A source that has not started, and a receiver of its state.
    #[must_use]
    pub fn new(settings: Settings, watching: &Watching) -> (Self, watch::Receiver<SourceState>) {
        // Watched before they are read, so that no change is missed in between. A file system that reports no changes may not
        // answer at all, so it is only accessed in a thread of its own.
        let changes = if settings.is_silent {
            Watching::blind().directories([])
        } else {
            watching.directories(directories(&settings.paths))
        };
        let standing = SourceDetails::Files(FilesState::new(&settings));
        let (state, receiver) = watch::channel(SourceState::new(standing));
        let is_silent = settings.is_silent || watching.is_blind();
        let settle = if is_silent { SETTLE_SILENT } else { SETTLE };
        let log = Log::new(&settings);
        let source = Self {
            settings,
            changes,
            state,
            settling: Settling::new(settle),
            accepted: None,
            seen: None,
            reading: None,
            since: None,
            unsettled: None,
            log,
            is_silent,
        };
        (source, receiver)
    }

    /// Reads the files whenever they change, until `stop` is cancelled. No content of the files ends it.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        self.log.polled(self.is_silent);
        loop {
            if !self.settings.is_silent {
                self.changes.follow(directories(&self.settings.paths));
            }
            let next = self.look().await;
            sleep(SHORTEST).await;
            tokio::select! {
                () = self.changes.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Reads the files, and accepts their set. Returns when to read them again even without an event.
    async fn look(&mut self) -> Instant {
        let found = self.find().await;
        let now = Instant::now();
        let regular = now + if self.is_silent { LOOK_SILENT } else { LOOK };
        let has_set = self.state.borrow().identity.current().is_some();
        let patience = if has_set { PATIENCE } else { PATIENCE_FIRST };
        let (trouble, next, since) = match found {
            Found::Set => {
                (self.since, self.unsettled) = (None, None);
                self.settled();
                return regular;
            }
            Found::Unsettled(next) => {
                let path = self.settings.paths.certificate.clone();
                self.since.get_or_insert(now);
                // For files that are being written, the patience begins when the writing begins, even if they were not a set
                // before.
                (Trouble::Unsettled { path }, next, *self.unsettled.get_or_insert(now))
            }
            Found::None(trouble) => {
                self.unsettled = None;
                // A set that is not valid yet becomes valid without a change of the files.
                let early = trouble.valid_from().map(|from| {
                    let left = from.duration_since(timing::now()).unwrap_or_default();
                    now + left.clamp(SETTLE, LOOK)
                });
                (trouble, early.unwrap_or(regular), *self.since.get_or_insert(now))
            }
        };
        let reported_from = since + patience;
        self.waits(&trouble);
        if reported_from <= now {
            self.reject(&trouble);
            return next;
        }
        next.min(reported_from)
    }

    async fn find(&mut self) -> Found {
        let (paths, known) = (self.settings.paths.clone(), self.accepted.clone());
        // One read at a time: while a file system does not answer, the read occupies a thread.
        let reading = self
            .reading
            .get_or_insert_with(|| spawn_blocking(move || read(&paths, known.as_ref())));
        let outcome = timeout(READING, reading).await;
        if outcome.is_ok() {
            self.reading = None;
        }
        let taken = match outcome {
            Ok(Ok(Ok(taken))) => taken,
            Ok(Ok(Err(trouble))) => {
                self.settling.forget();
                return match trouble {
                    Trouble::Unsettled { .. } => Found::Unsettled(Instant::now() + SETTLE),
                    trouble => Found::None(trouble),
                };
            }
            Ok(Err(_)) | Err(_) => {
                let path = self.settings.paths.certificate.clone();
                return Found::None(Trouble::Silent { path, limit: READING });
            }
        };
        self.seen = Some(taken.writer.clone());
        let Some(contents) = taken.contents else {
            // The files are those that were accepted.
            return Found::Set;
        };
        if !taken.kind.is_whole()
            && !self.is_old(&taken.stamps)
            && let Err(next) = self.settling.seen(&taken.stamps, Instant::now())
        {
            return Found::Unsettled(next);
        }
        let material = match judge(&self.settings, &contents, timing::now()) {
            Ok(material) => material,
            Err(trouble) => return Found::None(trouble),
        };
        if let Some(from) = self.better_later(&material) {
            return Found::None(Trouble::NotYetValid { from });
        }
        self.accepted = Some(taken.stamps);
        self.accept(material, taken.writer, revocation_lists(&self.settings, &contents));
        Found::Set
    }

    /// Whether nothing was accepted yet and the files have been unchanged for [`OLD`]: then there is no need to wait until
    /// they settle. Always false where the file system reports no changes.
    fn is_old(&self, stamps: &Stamps) -> bool {
        self.accepted.is_none()
            && !self.is_silent
            && stamps.age(timing::now()).is_some_and(|age| age >= OLD)
    }

    /// When the offered set may replace the current one, if it is not valid yet and the current one still is: by this machine's
    /// clock OpenSSL would refuse the offered set until then.
    fn better_later(&self, offered: &Material) -> Option<SystemTime> {
        let now = timing::now();
        let state = self.state.borrow();
        let current = state.identity.material()?;
        let is_good = current.not_before() <= now && !current.is_expired(now);
        (is_good && offered.not_before() > now && !current.publishes_as(offered))
            .then(|| offered.not_before())
    }

    fn accept(&mut self, material: Material, writer: Writer, lists: usize) {
        let before = self.state.borrow().identity.material().cloned();
        let same = before.as_ref().is_some_and(|before| before.publishes_as(&material));
        if !same {
            self.log.accepted(&material, before.as_deref(), &self.settings);
            self.settings.published = Some(Names::of(&material));
        }
        self.log.revocation_lists(unasked_lists(&self.settings, lists));
        self.state.send_modify(|state| {
            if let SourceDetails::Files(files) = &mut state.standing {
                files.writer = Some(writer);
            }
            if !same {
                state.identity = Identity::Current(Arc::new(material));
            }
        });
    }

    /// Removes the reasons for waiting and for a rejection from the state: the files are the accepted set.
    fn settled(&mut self) {
        let is_plain = |state: &SourceState| {
            state.rejected.is_none() && state.files().is_none_or(|files| files.waiting.is_none())
        };
        if is_plain(&self.state.borrow()) {
            return;
        }
        if self.state.borrow().rejected.is_some() {
            self.log.accepted_again();
        }
        self.state.send_modify(|state| {
            state.rejected = None;
            if let SourceDetails::Files(files) = &mut state.standing {
                files.waiting = None;
                files.is_unsettled = false;
                files.trouble = None;
            }
        });
    }

    /// Records in the state, but not in the log, why the files are not a set at the moment.
    fn waits(&self, trouble: &Trouble) {
        let text = trouble.to_string();
        self.state.send_if_modified(|state| {
            let SourceDetails::Files(files) = &mut state.standing else { return false };
            let is_news = files.waiting.as_ref() != Some(&text);
            files.is_unsettled = matches!(trouble, Trouble::Unsettled { .. });
            files.waiting = Some(text);
            is_news
        });
    }

    /// Reports that the files have not been a set for longer than the patience.
    fn reject(&mut self, trouble: &Trouble) {
        let reason = trouble.to_string();
        let finding = trouble.finding(self.seen.as_ref());
        let known = self.state.borrow().rejected.as_ref().map(|known| known.reason.clone());
        if known.as_ref() == Some(&reason) {
            return;
        }
        self.log.rejected(&finding);
        self.state.send_modify(|state| {
            state.rejections += 1;
            state.rejected = Some(super::Rejected { at: timing::now(), reason });
            if let SourceDetails::Files(files) = &mut state.standing {
                files.trouble = Some(finding);
            }
        });
    }
}

/// The directories in which a change can affect which files are read.
fn directories(paths: &Paths) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = paths
        .all()
        .into_iter()
        .flat_map(|path| watching::resolve_path(path).directories())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
