//! The loop: order, retry, replacement and re-verification. Nothing else decides them.
//!
//! A rotation is publish → reload → verify. A failed step is a fact to be recorded and answered with a retry; newer
//! material replaces the retries of older.

mod disturbance;
mod hand_over;
mod pace;
mod record;
mod report;
mod there;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use disturbance::Disturbance;
use pace::Pace;
pub use report::{disowned as tell_disowned, trust as tell_trust};
use waiting::{asked_after, changed_after, touched_after};

use crate::consumers::{Consumer, Login, Server};
use crate::material::{Expectations, Material};
use crate::publish::{self, Publisher};
use crate::source::{ExtraAuthorities, Identity, SourceState, UnreadableAuthorities};
use crate::status::{Published, Pulse, Status};
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
    /// The PostgreSQL that takes part, if one does.
    pub server: Option<Server>,
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
    /// The task that writes files has panicked.
    #[error("the publication task ended abnormally")]
    Publication(#[from] tokio::task::JoinError),
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
    publisher: Option<Publisher>,
    source: watch::Receiver<SourceState>,
    status: watch::Sender<Status>,
    pulse: Pulse,
    consumer: Option<Consumer>,
    authorities: ExtraAuthorities,
    files: Changes,
    again: Arc<Notify>,
    expectations: Expectations,
    wanted: Option<Arc<Material>>,
    generation: u64,
    publish_again: Option<(Instant, Backoff)>,
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
    pace: Pace,
    /// When the identity that the source has is taken, where it has to wait for that.
    later: Option<Instant>,
    /// The last publication failed because the kernel lacked something: then nothing can be looked at either.
    exhausted: bool,
    /// Whether it was said that identities have to wait.
    paced: bool,
    said: Option<String>,
    /// Since when the newest set has been on its way, until it is proven.
    begun: Option<Instant>,
}

impl Rotation {
    /// Prepares the loop. `again` asks for publication, reload and verification now.
    pub fn new(
        settings: Settings,
        publisher: Publisher,
        source: watch::Receiver<SourceState>,
        watching: &Watching,
        again: Arc<Notify>,
    ) -> Result<(Self, watch::Receiver<Status>), Error> {
        let pulse = Pulse::default();
        let (status, receiver) = watch::channel(Status {
            pulse: pulse.clone(),
            started: Some(timing::now()),
            takes_part: settings.server.is_some(),
            ..Status::default()
        });
        let rotation = Self {
            files: watching.directories(publisher.watched_paths()),
            authorities: ExtraAuthorities::read(settings.extra_authorities, watching)?,
            consumer: settings.server.map(|server| {
                Consumer::new(server, watching, pulse.clone(), publisher.is_exposed())
            }),
            pulse,
            publisher: Some(publisher),
            source,
            status,
            again,
            expectations: settings.expectations,
            wanted: None,
            generation: 0,
            publish_again: None,
            displaced: false,
            disturbance: Disturbance::new(),
            quiet_until: Instant::now(),
            unreadable: None,
            not_before: Instant::now(),
            pace: Pace::new(settings.publish_every),
            later: None,
            exhausted: false,
            paced: false,
            said: None,
            begun: None,
        };
        Ok((rotation, receiver))
    }

    /// Turns until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.begin();
        self.adopt(&stop).await?;
        self.follow_source(&stop).await?;
        loop {
            let next = self.next_timer();
            self.pulse.rest(next);
            let look_after = self.not_before.max(self.quiet_until);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                changed = changed_after(self.not_before, &mut self.source) => {
                    if changed.is_err() {
                        // The source has ended; whoever owns both says why.
                        stop.cancelled().await;
                        return Ok(());
                    }
                    self.follow_source(&stop).await?;
                }
                () = asked_after(self.not_before, &self.again) => {
                    info!(event = "asked-again", "publishing, reloading and verifying again, as asked");
                    self.rotate(&stop).await?;
                }
                () = touched_after(look_after, &mut self.files) => drop(self.look(&stop).await?),
                () = self.authorities.changed() => {
                    if self.authorities.read_again() {
                        info!(event = "extra-authorities-changed", "the extra authorities have changed");
                        self.rotate(&stop).await?;
                    }
                }
                () = Consumer::mended(self.consumer.as_mut()), if !self.displaced => self.look_and_hand_over(&stop).await?,
                () = waiting::until(next) => self.on_timer(&stop).await?,
            }
        }
    }

    /// Takes what the source knows now.
    async fn follow_source(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let state = self.source.borrow_and_update().clone();
        self.status.send_modify(|status| record::agent(status, &state));
        self.later = None;
        let Identity::Current(material) = state.identity else {
            return Ok(());
        };
        if self.has_to_wait(&material) {
            return Ok(());
        }
        let replaced = self.wanted.replace(Arc::clone(&material));
        let is_news = !replaced.is_some_and(|replaced| replaced.publishes_as(&material));
        if self.holds(&material) {
            if is_news {
                debug!("the identity is the one that is published");
            }
            return Ok(());
        }
        self.rotate(stop).await
    }

    /// Whether publishing this would change nothing.
    fn holds(&self, material: &Material) -> bool {
        let authorities = self.authorities.certificates();
        self.publisher.as_ref().is_some_and(|publisher| publisher.holds(material, authorities))
    }

    /// Publishes what is wanted, and hands it over.
    async fn rotate(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        // Whatever it is for: of what waits, the newest is published with it.
        if self.later.take().is_some()
            && let Identity::Current(newest) = &self.source.borrow().identity
        {
            self.wanted = Some(Arc::clone(newest));
        }
        let Some(material) = self.wanted.clone() else {
            return Ok(());
        };
        self.disturbance.waits = false;
        let authorities = self.authorities.certificates().to_vec();
        let begun = Instant::now();
        self.begun = Some(begun);
        self.not_before = begun + SHORTEST_INTERVAL;
        // A volume that is full, or worse, makes PostgreSQL open no session at each try.
        let consumer = self.consumer.as_ref().filter(|_| self.publish_again.is_none());
        let login = consumer.map(Consumer::begin_login);
        // What was exchanged while the former set was published would be forgotten with it.
        if self.generation > 0 && !self.is_undisturbed().await? {
            self.distrust();
        }
        let publication = {
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
        };
        let (outcome, login) = Login::beside(login, publication).await;
        match outcome? {
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
                self.said = None;
                self.generation += 1;
                self.published();
                if !self.with_publisher(|publisher| publisher.is_intact()).await? {
                    // Somebody was at it before the events were settled, and a reload would hand that to PostgreSQL.
                    warn!(
                        event = "files-changed",
                        "the published files were changed by somebody else at once; publishing them again"
                    );
                    self.disturbed(&material);
                    return self.with_publisher(|publisher| publisher.sweep(timing::now())).await;
                }
                self.hand_over(login, Some(took), stop).await?;
                // The generation before stays in any case: it is the last good set until this one is verified.
                self.with_publisher(|publisher| publisher.sweep(timing::now())).await?;
            }
            Err(error) if error.needs_restart() => return Err(Error::Directory(error)),
            Err(error) => {
                let intact = self.with_publisher(|publisher| publisher.is_intact()).await?;
                self.exhausted = error.is_exhaustion();
                self.displaced = !intact && !self.exhausted;
                self.publication_failed(&error, &material);
                if self.displaced {
                    self.restore_links(stop).await?;
                }
            }
        }
        Ok(())
    }

    fn published(&mut self) {
        let Some(material) = &self.wanted else { return };
        if let Some(publisher) = &self.publisher {
            self.files.follow(publisher.watched_paths());
        }
        // Our own changes are no news.
        self.files.settle();
        self.displaced = false;
        let disturbed = self.disturbance.is_pending();
        let published = Published::of(material, self.authorities.certificates(), self.generation);
        self.status.send_modify(|status| {
            status.published = Some(published);
            status.problem = None;
            if !disturbed {
                status.displaced = None;
            }
            status.advice.clear();
        });
    }

    fn publication_failed(&mut self, error: &publish::Error, material: &Material) {
        let (first, longest) = PUBLISH_AGAIN;
        let (_, mut backoff) =
            self.publish_again.take().unwrap_or((Instant::now(), Backoff::new(first, longest)));
        let delay = backoff.delay();
        self.publish_again = Some((Instant::now() + delay, backoff));
        let text = error.to_string();
        let key = error.key();
        let repeated = self.said.as_ref() == Some(&key);
        report::publication_failed(&text, delay, repeated);
        self.said = Some(key);
        let retry = record::due(self.publish_again.as_ref().map(|(at, _)| *at));
        let generation = self.generation + 1;
        let displaced = self.displaced.then(|| text.clone());
        let disturbed = self.disturbance.is_pending();
        self.status.send_modify(|status| {
            record::unpublished(status, material, generation, &text, retry);
            if displaced.is_some() || !disturbed {
                status.displaced = displaced;
            }
        });
    }

    /// When there is something to do although nothing has happened.
    fn next_timer(&self) -> Option<Instant> {
        let publish = self.publish_again.as_ref().map(|(at, _)| *at);
        let look = match &self.consumer {
            _ if self.displaced => None,
            Some(consumer) => consumer.next(),
            None => Some(Instant::now() + LOOK_AGAIN),
        };
        // Others may make each look find something.
        let look = look.map(|at| at.max(self.not_before));
        publish.into_iter().chain(self.later).chain(look).min()
    }

    async fn on_timer(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        if self.publish_again.as_ref().is_some_and(|(at, _)| *at <= Instant::now()) {
            return self.rotate(stop).await;
        }
        if self.later.is_some_and(|at| at <= Instant::now()) {
            return self.follow_source(stop).await;
        }
        // A volume that was replaced tells nobody.
        self.look_and_hand_over(stop).await
    }

    async fn look_and_hand_over(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        if self.look(stop).await? {
            self.hand_over(None, None, stop).await?;
        }
        Ok(())
    }

    /// Files are written and synced on a thread that may block.
    async fn with_publisher<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Publisher) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.pulse.step("writing files", FILES);
        // It is absent only while it works, and that is awaited here.
        let Some(mut publisher) = self.publisher.take() else {
            return std::future::pending().await;
        };
        let (publisher, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut publisher);
            (publisher, outcome)
        })
        .await?;
        self.publisher = Some(publisher);
        Ok(outcome)
    }
}
