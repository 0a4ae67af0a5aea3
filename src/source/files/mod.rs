//! Certificate, key and bundle in files that somebody else writes: cert-manager, Vault Agent, step, a Secret volume.
//!
//! Those who write them do so in their own order and pace. What is handed on is one set: the files of one directory of a
//! volume, or files that nobody has touched for a while, and only once key, leaf and bundle belong together. Until then the
//! set before stays.

mod judge;
mod layout;
mod said;
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

pub use judge::judge;
pub use layout::{Contents, Kind, Stamps, Taken, read};
use said::Said;
use settling::Settling;
pub use silent::are_silent;
pub use state::{FilesState, Writer};
pub use trouble::Trouble;

use super::{Identity, SourceState, Standing};
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

/// Which files, and what their set must be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The files.
    pub paths: Paths,
    /// What a set must be.
    pub expectations: Expectations,
    /// The names of what is published.
    pub published: Option<Names>,
    /// After which part of the life, in hundredths, the writer renews it.
    pub renewal_percent: u32,
    /// Whether the file system tells of no change that another machine, or a program in user space, makes.
    pub is_silent: bool,
}

/// For how long nobody may have touched files outside of a volume: its writer may be in the middle of them.
const SETTLE: Duration = Duration::from_secs(1);
/// The same where times of files may be rounded to a second.
const SETTLE_SILENT: Duration = Duration::from_secs(2);
/// Files that were written so long before the first look are not being written; times may be rounded to two seconds.
const OLD: Duration = Duration::from_secs(5);
/// How often the files are looked at where the kernel tells of no change, and where it does: of a directory above those that
/// are watched it does not.
const LOOK_SILENT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(60);
/// Shortest time between two looks, however many events there are.
const SHORTEST: Duration = Duration::from_millis(100);
/// How long the files may fail to be a set before this is reported: their writer may still be writing. It is shorter before the first set.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_FIRST: Duration = Duration::from_secs(2);
/// How long reading may take: a network file system may not answer.
const READING: Duration = Duration::from_secs(10);

/// What reads the files, and hands their set on.
pub struct Source {
    settings: Settings,
    changes: Changes,
    state: watch::Sender<SourceState>,
    settling: Settling,
    /// What was last handed on.
    accepted: Option<Stamps>,
    /// A look at the files that has not come back yet.
    reading: Option<JoinHandle<Result<Taken, Trouble>>>,
    /// Since when the files are no set, or no new one, though they have changed.
    since: Option<Instant>,
    /// Since when somebody goes on writing them.
    unsettled: Option<Instant>,
    said: Said,
    /// Whether the file system, or the kernel's lack of watches, makes time the only sign of a change.
    is_silent: bool,
}

/// What a look has come to.
enum Found {
    /// What was handed on before, or is now.
    Set,
    /// Files that somebody may be writing; look again then.
    Unsettled(Instant),
    /// No set.
    None(Trouble),
}

impl Source {
    /// A source that has not begun, and the state that it will keep up to date.
    #[must_use]
    pub fn new(settings: Settings, watching: &Watching) -> (Self, watch::Receiver<SourceState>) {
        // Watched before they are read, so that no change falls in between. A file system that tells of no changes may also not
        // answer at all: it is only asked in a thread of its own.
        let changes = if settings.is_silent {
            Watching::blind().directories([])
        } else {
            watching.directories(directories(&settings.paths))
        };
        let standing = Standing::Files(FilesState::new(&settings));
        let (state, receiver) = watch::channel(SourceState::new(standing));
        let is_silent = settings.is_silent || watching.is_blind();
        let settle = if is_silent { SETTLE_SILENT } else { SETTLE };
        let said = Said::new(&settings);
        let source = Self {
            settings,
            changes,
            state,
            settling: Settling::new(settle),
            accepted: None,
            reading: None,
            since: None,
            unsettled: None,
            said,
            is_silent,
        };
        (source, receiver)
    }

    /// Reads the files whenever they change, until `stop`. Nothing that they hold ends it.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        self.said.polled(self.is_silent);
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

    /// Looks at the files, and takes what they hold. Returns when to look again though nothing is told.
    async fn look(&mut self) -> Instant {
        let found = self.find().await;
        let now = Instant::now();
        let regular = now + if self.is_silent { LOOK_SILENT } else { LOOK };
        let has_set = matches!(self.state.borrow().identity, Identity::Current(_));
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
                // Patience with files that are being written begins when the writing begins, however long they were no set
                // before.
                (Trouble::Unsettled { path }, next, *self.unsettled.get_or_insert(now))
            }
            Found::None(trouble) => {
                self.unsettled = None;
                // Its time comes without a change of the files.
                let early = trouble.valid_from().map(|from| {
                    let left = from.duration_since(timing::now()).unwrap_or_default();
                    now + left.clamp(SETTLE, LOOK)
                });
                (trouble, early.unwrap_or(regular), *self.since.get_or_insert(now))
            }
        };
        let said_from = since + patience;
        self.waits(&trouble);
        if said_from <= now {
            self.reject(&trouble);
            return next;
        }
        next.min(said_from)
    }

    async fn find(&mut self) -> Found {
        let (paths, known) = (self.settings.paths.clone(), self.accepted.clone());
        // One at a time: what a file system holds back holds a thread.
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
        let Some(contents) = taken.contents else {
            // They are what was handed on.
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
        self.accept(material, taken.writer);
        Found::Set
    }

    /// Whether nothing was accepted yet and the files have been unchanged for [`OLD`]: then there is no need to wait until
    /// they settle. Always false where the file system reports no changes.
    fn is_old(&self, stamps: &Stamps) -> bool {
        self.accepted.is_none()
            && !self.is_silent
            && stamps.age(timing::now()).is_some_and(|age| age >= OLD)
    }

    /// From when on a set may replace the current one, if that is later than now. OpenSSL, which has this machine's clock, would
    /// refuse it until then, and the current one is still good.
    fn better_later(&self, offered: &Material) -> Option<SystemTime> {
        let now = timing::now();
        let state = self.state.borrow();
        let current = state.identity.material()?;
        let is_good = current.not_before() <= now && !current.is_expired(now);
        (is_good && offered.not_before() > now && !current.publishes_as(offered))
            .then(|| offered.not_before())
    }

    fn accept(&mut self, material: Material, writer: Writer) {
        let before = self.state.borrow().identity.material().cloned();
        let same = before.as_ref().is_some_and(|before| before.publishes_as(&material));
        if !same {
            self.said.accepted(&material, before.as_deref(), &self.settings);
            self.settings.published = Some(Names::of(&material));
        }
        self.state.send_modify(|state| {
            if let Standing::Files(files) = &mut state.standing {
                files.writer = Some(writer);
            }
            if !same {
                state.identity = Identity::Current(Arc::new(material));
            }
        });
    }

    /// The files are the set that was handed on.
    fn settled(&mut self) {
        let is_plain = |state: &SourceState| {
            state.rejected.is_none() && state.files().is_none_or(|files| files.waiting.is_none())
        };
        if is_plain(&self.state.borrow()) {
            return;
        }
        if self.state.borrow().rejected.is_some() {
            self.said.accepted_again();
        }
        self.state.send_modify(|state| {
            state.rejected = None;
            if let Standing::Files(files) = &mut state.standing {
                files.waiting = None;
                files.is_unsettled = false;
                files.trouble = None;
            }
        });
    }

    /// Says in the state alone that the files are no set at the moment.
    fn waits(&self, trouble: &Trouble) {
        let text = trouble.to_string();
        self.state.send_if_modified(|state| {
            let Standing::Files(files) = &mut state.standing else { return false };
            let is_news = files.waiting.as_ref() != Some(&text);
            files.is_unsettled = matches!(trouble, Trouble::Unsettled { .. });
            files.waiting = Some(text);
            is_news
        });
    }

    /// The files are no set, and nobody has made one of them for a while.
    fn reject(&mut self, trouble: &Trouble) {
        let reason = trouble.to_string();
        let writer = self.state.borrow().files().and_then(|files| files.writer.clone());
        let finding = trouble.finding(writer.as_ref());
        let known = self.state.borrow().rejected.as_ref().map(|known| known.reason.clone());
        if known.as_ref() == Some(&reason) {
            return;
        }
        self.said.rejected(&finding);
        self.state.send_modify(|state| {
            state.rejections += 1;
            state.rejected = Some(super::Rejected { at: timing::now(), reason });
            if let Standing::Files(files) = &mut state.standing {
                files.trouble = Some(finding);
            }
        });
    }
}

/// Where something can change what is read.
fn directories(paths: &Paths) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        paths.all().into_iter().flat_map(|path| watching::way(path).directories()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
