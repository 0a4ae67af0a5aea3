//! The loop: order, retry, replacement and re-verification. Nothing else decides them.
//!
//! A rotation is publish → reload → verify. A failed step is a fact to be recorded and answered with a retry; newer
//! material replaces the retries of older.

mod attempts;
mod barrier;
mod disturbance;
mod hand_over;
mod outcome;
mod pace;
mod record;
mod report;
mod there;
mod turns;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use attempts::{Attempts, Ended};
use disturbance::Disturbance;
use pace::Pace;
pub use report::{disowned as tell_disowned, trust as tell_trust};
use turns::{Turn, Turns};

use crate::consumers::{Consumer, Publication, Server};
use crate::material::{Expectations, Material};
use crate::publish::{self, Publisher, Worker};
use crate::source::{ExtraAuthorities, Identity, SourceState, UnreadableAuthorities};
use crate::status::{self, Pulse, Status};
use crate::timing::{self, Backoff};
use crate::watching::{Changes, Watching};

/// What a rotation consists of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a set of an earlier run must be.
    pub expectations: Expectations,
    /// PEM files whose certificates are appended to the bundle.
    pub extra_authorities: Vec<PathBuf>,
    /// Shortest time between two publications of an identity that changes without end; zero for none.
    pub publish_every: Duration,
    /// The servers that read what is published, if any do.
    pub servers: Vec<Server>,
}

/// Why the loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured authorities cannot be read, at start.
    #[error(transparent)]
    Authorities(#[from] UnreadableAuthorities),
    /// Only another process can publish.
    #[error(transparent)]
    Directory(publish::Error),
    /// Nothing writes files.
    #[error(transparent)]
    Publication(#[from] publish::Broken),
}

/// Shortest time from one rotation to the next: each reload wakes every backend, and an agent gone wild may send a
/// thousand updates a second. The newest of them counts.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// How often the published files are looked at where no server takes part: a volume that is mounted over the
/// directory is no event of the old one's.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// First and longest back-off between tries to publish.
const PUBLISH_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long files may take to be written and synced. A disk that is slow is no reason to start anew, which would not
/// make it faster; one that never answers is.
const FILES: Duration = Duration::from_secs(600);

/// The loop, before it runs.
pub struct Rotation {
    publisher: Worker,
    source: watch::Receiver<SourceState>,
    status: watch::Sender<Status>,
    pulse: Pulse,
    attempts: Attempts,
    authorities: ExtraAuthorities,
    files: Changes,
    again: Arc<Notify>,
    expectations: Expectations,
    /// What is to be published. It may not be possible yet.
    wanted: Option<Arc<Material>>,
    /// The set that readers find: what PostgreSQL is judged by.
    published: Option<Publication>,
    /// Tells why what is wanted is not published from the next reason; `None` if it is.
    unpublished: Option<String>,
    generation: u64,
    publish_again: Option<(Instant, Backoff)>,
    /// No generation was removed since the last publication.
    unswept: bool,
    /// Readers find something else than the published set, and it could not be published again: a reload would hand that
    /// to PostgreSQL.
    displaced: bool,
    disturbance: Disturbance,
    /// Until when others' changes are not looked at: they may go on without end.
    quiet_until: Instant,
    /// What was last said of a directory whose content can be neither used nor removed.
    unreadable: Option<String>,
    /// When the next identity may be taken from the source.
    not_before: Instant,
    /// When the published files are looked at next where no server takes part.
    look_again: Instant,
    turns: Turns,
    pace: Pace,
    /// When the identity that the source has is taken, where it has to wait for that.
    later: Option<Instant>,
    /// The last publication failed because the kernel lacked something: then nothing can be looked at either.
    exhausted: bool,
    /// The attempt that has ended, or the consumer that is worth another try, with the turn that says so.
    ended: Option<Ended>,
    worth_a_try: Option<usize>,
}

/// What the loop works with.
struct Parts {
    /// Where sets are published, for people.
    directory: String,
    publisher: Worker,
    source: watch::Receiver<SourceState>,
    again: Arc<Notify>,
    consumers: Vec<Consumer>,
    pulse: Pulse,
    files: Changes,
    authorities: ExtraAuthorities,
}

impl Rotation {
    /// Prepares the loop, and starts the thread that writes files. `again` asks for publication, reload and verification now.
    pub fn new(
        settings: &Settings,
        publisher: Publisher,
        source: watch::Receiver<SourceState>,
        watching: &Watching,
        again: Arc<Notify>,
    ) -> Result<(Self, watch::Receiver<Status>), Error> {
        let pulse = Pulse::default();
        let exposed = publisher.is_exposed();
        let several = settings.servers.len() > 1;
        let consumers = settings.servers.iter().cloned().enumerate().map(|(number, server)| {
            let label = several.then(|| server.name.clone());
            Consumer::postgres(server, label, watching, pulse.beside(number), exposed)
        });
        let consumers = consumers.collect();
        let directory = publisher.directory().display().to_string();
        let files = watching.directories(publisher.watched_paths());
        let authorities = ExtraAuthorities::read(settings.extra_authorities.clone(), watching)?;
        let publisher = Worker::start(publisher)?;
        let parts =
            Parts { directory, publisher, source, again, consumers, pulse, files, authorities };
        Ok(Self::of(settings, parts))
    }

    fn of(settings: &Settings, parts: Parts) -> (Self, watch::Receiver<Status>) {
        let Parts { directory, publisher, source, again, consumers, pulse, files, authorities } =
            parts;
        let (status, receiver) = watch::channel(Status {
            pulse: pulse.clone(),
            started: Some(timing::now()),
            directory,
            consumers: consumers.iter().map(|it| status::Consumer::named(it.name())).collect(),
            ..Status::default()
        });
        let rotation = Self {
            files,
            authorities,
            attempts: Attempts::new(consumers),
            pulse,
            publisher,
            source,
            status,
            again,
            expectations: settings.expectations.clone(),
            wanted: None,
            published: None,
            unpublished: None,
            generation: 0,
            publish_again: None,
            unswept: false,
            displaced: false,
            disturbance: Disturbance::new(),
            quiet_until: Instant::now(),
            unreadable: None,
            not_before: Instant::now(),
            look_again: Instant::now() + LOOK_AGAIN,
            turns: Turns::default(),
            pace: Pace::new(settings.publish_every),
            later: None,
            exhausted: false,
            ended: None,
            worth_a_try: None,
        };
        (rotation, receiver)
    }

    /// Turns until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.begin().await?;
        self.adopt().await?;
        self.follow_source().await?;
        loop {
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => return self.finish().await,
                turn = self.next_turn() => turn,
            };
            match turn {
                Turn::Source => self.follow_source().await?,
                Turn::SourceEnded => {
                    // Whoever owns both says why.
                    stop.cancelled().await;
                    return self.finish().await;
                }
                Turn::Asked => {
                    info!(
                        event = "asked-again",
                        "publishing, reloading and verifying again, as asked"
                    );
                    self.rotate().await?;
                }
                Turn::Files => drop(self.look().await?),
                Turn::Authorities => drop(self.read_authorities().await?),
                Turn::Attempt => {
                    if let Some(ended) = self.ended.take() {
                        self.conclude(ended).await?;
                    }
                }
                Turn::Consumer => {
                    let which = Vec::from_iter(self.worth_a_try.take());
                    self.look_and_hand_over(&which).await?;
                }
                Turn::Timer => self.on_timer().await?,
            }
        }
    }

    /// Reads the extra authorities again, and publishes if they have changed; returns whether they have.
    async fn read_authorities(&mut self) -> Result<bool, Error> {
        let changed = self.authorities.read_again();
        if changed {
            info!(event = "extra-authorities-changed", "the extra authorities have changed");
            self.rotate().await?;
        }
        Ok(changed)
    }

    /// Takes what the source knows now.
    async fn follow_source(&mut self) -> Result<(), Error> {
        let state = self.source.borrow_and_update().clone();
        self.status.send_modify(|status| record::agent(status, &state));
        self.later = None;
        let Identity::Current(material) = state.identity else {
            return Ok(());
        };
        let is_wanted = |wanted: &Arc<Material>| wanted.publishes_as(&material);
        if self.publish_again.is_some() && self.wanted.as_ref().is_some_and(is_wanted) {
            // Whatever else the agent says, the next try comes in its time.
            return Ok(());
        }
        if self.has_to_wait(&material).await? {
            return Ok(());
        }
        let replaced = self.wanted.replace(Arc::clone(&material));
        let is_news = !replaced.is_some_and(|replaced| replaced.publishes_as(&material));
        if self.holds(&material).await? {
            if is_news {
                debug!("the identity is the one that is published");
            }
            return Ok(());
        }
        self.rotate().await
    }

    /// Whether publishing this would change nothing.
    async fn holds(&self, material: &Arc<Material>) -> Result<bool, Error> {
        let material = Arc::clone(material);
        let authorities = self.authorities.beside(&material);
        self.with_publisher(move |publisher| publisher.holds(&material, &authorities)).await
    }

    /// Publishes what is wanted, and hands it over.
    async fn rotate(&mut self) -> Result<(), Error> {
        // Whatever it is for: of what waits, the newest is published with it.
        if self.later.take().is_some()
            && let Identity::Current(newest) = &self.source.borrow().identity
        {
            self.wanted = Some(Arc::clone(newest));
        }
        let Some(material) = self.wanted.clone() else {
            return Ok(());
        };
        if !self.attempts.barrier.is_open(Instant::now()) {
            return Ok(());
        }
        self.recall().await?;
        self.authorities.tell_left_out(&material);
        let authorities = self.authorities.beside(&material);
        self.disturbance.waits = false;
        let begun = Instant::now();
        self.not_before = begun + SHORTEST_INTERVAL;
        // A volume that is full, or worse, makes PostgreSQL open no session at each try.
        if self.publish_again.is_none() {
            self.attempts.idle().for_each(Consumer::prepare);
        }
        // What was exchanged while the former set was published would be forgotten with it.
        if self.generation > 0 && !self.is_undisturbed().await? {
            self.distrust();
        }
        let outcome = {
            let material = Arc::clone(&material);
            self.with_publisher(move |publisher| {
                report::lock(&publisher.keep_locked());
                let before = (publisher.trust(), publisher.is_exposed());
                let outcome = publisher.publish(&material, &authorities);
                report::disowned(&publisher.take_disowned());
                if (publisher.trust(), publisher.is_exposed()) != before {
                    report::trust(publisher);
                }
                outcome
            })
            .await?
        };
        match outcome {
            Ok(published) => {
                let took = begun.elapsed();
                for name in &published.taken_over {
                    info!(
                        event = "file-taken-over",
                        file = name,
                        "took over a plain file of another helper: it is a link now"
                    );
                }
                self.publish_again = None;
                self.generation += 1;
                self.published().await?;
                if !self.with_publisher(|publisher| publisher.is_intact()).await? {
                    // Somebody was at it before the events were settled, and a reload would hand that to PostgreSQL.
                    warn!(
                        event = "files-changed",
                        "the published files were changed by somebody else at once; publishing them again"
                    );
                    self.attempts.idle().for_each(Consumer::give_up);
                    self.disturbed(&material);
                    return self.with_publisher(|publisher| publisher.sweep(timing::now())).await;
                }
                self.unswept = true;
                self.attempts.on_their_way(begun);
                self.hand_over(&self.attempts.all(), Some(took));
                self.sweep().await?;
            }
            Err(error) if error.needs_restart() => return Err(Error::Directory(error)),
            Err(error) => {
                self.attempts.idle().for_each(Consumer::give_up);
                let intact = self.with_publisher(|publisher| publisher.is_intact()).await?;
                self.exhausted = error.is_exhaustion();
                self.displaced = !intact && !self.exhausted;
                self.publication_failed(&error, &material);
                if self.displaced {
                    self.restore_links().await?;
                }
            }
        }
        Ok(())
    }

    async fn on_timer(&mut self) -> Result<(), Error> {
        let again = self.publish_again.as_ref().is_some_and(|(at, _)| *at <= Instant::now());
        if again || self.attempts.barrier.is_waited_for() {
            return self.rotate().await;
        }
        if self.later.is_some_and(|at| at <= Instant::now()) {
            return self.follow_source().await;
        }
        self.look_again = Instant::now() + LOOK_AGAIN;
        // The kernel may not tell of changes.
        if self.read_authorities().await? {
            return Ok(());
        }
        // A volume that was replaced tells nobody.
        let due = self.attempts.due(Instant::now());
        self.look_and_hand_over(&due).await
    }

    async fn look_and_hand_over(&mut self, which: &[usize]) -> Result<(), Error> {
        if self.look().await? {
            self.hand_over(which, None);
        }
        Ok(())
    }

    /// Removes the generations that nobody needs any more. The one before stays in any case: it is the last good set until
    /// this one is verified.
    async fn sweep(&mut self) -> Result<(), Error> {
        if !self.attempts.is_running() && std::mem::take(&mut self.unswept) {
            self.with_publisher(|publisher| publisher.sweep(timing::now())).await?;
        }
        Ok(())
    }

    /// Has the thread that writes files do something.
    async fn with_publisher<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Publisher) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.pulse.step("writing files", FILES);
        Ok(self.publisher.with(work).await?)
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
