//! The loop, which alone decides the order of the steps, and when something is retried, replaced or verified again.
//!
//! A rotation is publish → reload → verify. A failed step is recorded and answered with a retry; a newer set ends the retries
//! of an older one.

mod attempts;
mod barrier;
mod change_throttle;
mod contents;
mod disturbance;
mod hand_over;
mod hooks;
mod once;
mod order;
mod outcome;
mod pace;
mod publishing;
mod record;
mod report;
mod settings;
mod turns;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use attempts::{Attempts, Ended};
use change_throttle::ChangeThrottle;
use disturbance::Disturbance;
use hooks::Hooks;
pub use once::{NotPublished, Once, PublishedBy, is_young};
use order::Order;
use pace::PublicationBudget;
pub use report::{disowned as tell_disowned, trust as tell_trust};
pub use settings::Settings;
use turns::{Turns, WorkKind};

use crate::consumers::{Consumer, Publication};
use crate::hooks::{Answer, Line};
use crate::material::{Expectations, Material};
use crate::publish::{self, Opened, Target};
use crate::source::{ExtraAuthorities, Identity, SourceState, UnreadableAuthorities};
use crate::status::{self, Naming, Pulse, Status};
use crate::timing::{self, Backoff};
use crate::watching::{Changes, Watching};

/// Why the loop cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured extra authorities cannot be read at the start.
    #[error(transparent)]
    Authorities(#[from] UnreadableAuthorities),
    /// The published directory was replaced. This process cannot publish to the new one, but the next process can.
    #[error(transparent)]
    Directory(publish::Error),
    /// The thread that writes files is gone.
    #[error(transparent)]
    Publication(#[from] publish::Broken),
}

/// Shortest time between two rotations: each reload wakes every backend, and a faulty agent may send a thousand updates a
/// second. The newest of them counts.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// How often the published files are checked if no server is configured: a volume that is mounted over the directory causes
/// no event.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// First and longest back-off between tries to publish.
const PUBLISH_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long writing and syncing files may take. Restarting the process would not make a slow disk faster; but it does help if
/// the disk never answers.
const FILES: Duration = Duration::from_secs(600);

/// The loop, before it runs.
pub struct Rotation {
    target: Target,
    source: watch::Receiver<SourceState>,
    status: watch::Sender<Status>,
    pulse: Pulse,
    attempts: Attempts,
    hooks: Hooks,
    authorities: ExtraAuthorities,
    files: Changes,
    again: Arc<Notify>,
    expectations: Expectations,
    /// The set to publish. That may not be possible yet.
    wanted: Option<Arc<Material>>,
    /// The set that readers find: PostgreSQL is judged by it.
    published: Option<Publication>,
    /// Why the wanted set is not published, if that was tried.
    unpublished: Option<publish::Error>,
    generation: u64,
    publish_again: Option<(Instant, Backoff)>,
    /// Whether generations that nobody needs any more must still be removed.
    unswept: bool,
    /// Whether readers find something else than the published set, and it could not be published again: a reload would hand
    /// that to PostgreSQL.
    displaced: bool,
    disturbance: Disturbance,
    order: Order,
    /// Until when changes by others are ignored: there may be more and more of them.
    quiet_until: Instant,
    /// The last report about a directory whose content can be neither used nor removed.
    unreadable: Option<String>,
    /// When the next identity may be taken from the source.
    not_before: Instant,
    /// When the published files are checked next if no server is configured.
    look_again: Instant,
    turns: Turns,
    pace: PublicationBudget,
    change_throttle: ChangeThrottle,
    /// When the source's identity is taken, if it has to wait.
    later: Option<Instant>,
    /// Whether the last publication failed because the kernel was out of a resource: then nothing can be examined either.
    exhausted: bool,
    /// The attempt that has ended, or the consumer that is worth another try, for the turn that handles it.
    ended: Option<Ended>,
    worth_a_try: Option<usize>,
    answered: Option<Answer>,
    /// Counts the files with tokens that were written, if there are such files.
    tokens: Option<watch::Receiver<u64>>,
}

/// The channels that the loop works with.
struct Parts {
    target: Target,
    source: watch::Receiver<SourceState>,
    again: Arc<Notify>,
    consumers: Vec<Consumer>,
    pulse: Pulse,
    files: Changes,
    authorities: ExtraAuthorities,
    line: Option<Line>,
}

impl Rotation {
    /// Prepares the loop, and starts the thread that writes files. `again` requests publication, reload and verification now;
    /// without a `line` no hooks run.
    pub fn new(
        settings: &Settings,
        opened: Opened,
        source: watch::Receiver<SourceState>,
        watching: &Watching,
        again: Arc<Notify>,
        line: Option<Line>,
    ) -> Result<(Self, watch::Receiver<Status>), Error> {
        let pulse = Pulse::default();
        let consumers = settings.consumers(watching, &pulse, opened.is_exposed());
        let files = watching.directories(opened.watched_paths());
        let authorities = ExtraAuthorities::read(settings.extra_authorities.clone(), watching)?;
        let target = Target::start(opened)?;
        let parts = Parts { target, source, again, consumers, pulse, files, authorities, line };
        Ok(Self::of(settings, parts))
    }

    fn of(settings: &Settings, parts: Parts) -> (Self, watch::Receiver<Status>) {
        let Parts { target, source, again, consumers, pulse, files, authorities, line } = parts;
        let hooks = Hooks::new(&settings.hooks, line);
        let mut first = Status {
            pulse: pulse.clone(),
            started: Some(timing::now()),
            directory: target.directory().display().to_string(),
            naming: Naming::new(&settings.expectations, settings.before.clone()),
            consumers: consumers
                .iter()
                .map(|it| status::Consumer {
                    login: it.login().map(record::login),
                    instances: it.instances(),
                    ..status::Consumer::named(it.kind(), it.name())
                })
                .collect(),
            hooks: hooks.status(),
            ..Status::default()
        };
        if source.borrow().files().is_some() {
            record::source(&mut first, &source.borrow());
        }
        let (status, receiver) = watch::channel(first);
        let rotation = Self {
            files,
            authorities,
            attempts: Attempts::new(consumers),
            hooks,
            pulse,
            target,
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
            order: Order::default(),
            quiet_until: Instant::now(),
            unreadable: None,
            not_before: Instant::now(),
            look_again: Instant::now() + LOOK_AGAIN,
            turns: Turns::default(),
            pace: PublicationBudget::new(settings.publish_every),
            change_throttle: ChangeThrottle::new(),
            later: None,
            exhausted: false,
            ended: None,
            worth_a_try: None,
            answered: None,
            tokens: None,
        };
        (rotation, receiver)
    }

    /// The status, for the task that writes tokens: it changes nothing but its own part.
    #[must_use]
    pub fn status(&self) -> watch::Sender<Status> {
        self.status.clone()
    }

    /// Runs the hooks for tokens whenever this count changes.
    pub fn follow_tokens(&mut self, written: watch::Receiver<u64>) {
        self.tokens = Some(written);
    }

    /// Runs until `stop`, then gives running attempts and hooks five seconds. Fails if the published directory was replaced,
    /// or if the thread that writes files has ended.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.hooks.tell_changed();
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
                WorkKind::Source => self.follow_source().await?,
                WorkKind::SourceEnded => {
                    // The owner of the source and of this loop reports why the source has ended.
                    stop.cancelled().await;
                    return self.finish().await;
                }
                WorkKind::Asked => {
                    info!(
                        event = "asked-again",
                        "publishing, reloading and verifying again, as asked"
                    );
                    // Changes that the kernel has not reported are read now, too.
                    if !self.read_authorities().await? {
                        self.rotate().await?;
                    }
                }
                WorkKind::Files => drop(self.look().await?),
                WorkKind::Authorities => drop(self.read_authorities().await?),
                WorkKind::Attempt => {
                    if let Some(ended) = self.ended.take() {
                        self.conclude(ended).await?;
                    }
                }
                WorkKind::Consumer => {
                    let which = Vec::from_iter(self.worth_a_try.take());
                    self.look_and_hand_over(&which).await?;
                }
                WorkKind::Hook => {
                    if let Some(answer) = self.answered.take() {
                        self.hook_ended(&answer);
                        self.run_hooks();
                    }
                }
                WorkKind::Token => {
                    if let Some(written) = &mut self.tokens {
                        self.hooks.token_written(*written.borrow_and_update());
                    }
                    self.run_hooks();
                }
                WorkKind::Timer => self.on_timer().await?,
            }
        }
    }

    /// Reads the extra authorities again, and publishes if they have changed; returns whether they have.
    async fn read_authorities(&mut self) -> Result<bool, Error> {
        let changed = self.authorities.read_again();
        if changed {
            info!(event = "extra-authorities-changed", "the extra authorities have changed");
            if self.change_throttle.taken() {
                report::authorities_paced();
            }
            self.rotate().await?;
        }
        Ok(changed)
    }

    /// Takes the source's present state.
    async fn follow_source(&mut self) -> Result<(), Error> {
        let state = self.source.borrow_and_update().clone();
        self.status.send_modify(|status| record::source(status, &state));
        self.judge_in_place();
        self.later = None;
        let Identity::Current(material) = state.identity else {
            return Ok(());
        };
        let is_wanted = |wanted: &Arc<Material>| wanted.publishes_as(&material);
        if self.publish_again.is_some() && self.wanted.as_ref().is_some_and(is_wanted) {
            // This set is already being retried: the agent's message does not make the next try any earlier.
            return Ok(());
        }
        if self.has_to_wait(&material).await? {
            return Ok(());
        }
        let replaced = self.wanted.replace(Arc::clone(&material));
        let is_news = !replaced.is_some_and(|replaced| replaced.publishes_as(&material));
        if self.holds(&material).await? {
            if is_news {
                debug!("the identity is already published");
            }
            return Ok(());
        }
        self.rotate().await
    }

    async fn on_timer(&mut self) -> Result<(), Error> {
        if self.hooks.next(self.displaced).is_some_and(|at| at <= Instant::now()) {
            self.see_to_hooks();
            return Ok(());
        }
        let again = self.publish_again.as_ref().is_some_and(|(at, _)| *at <= Instant::now());
        if again || self.attempts.barrier.is_waited_for() {
            return self.rotate().await;
        }
        if self.later.is_some_and(|at| at <= Instant::now()) {
            return self.follow_source().await;
        }
        self.look_again = Instant::now() + LOOK_AGAIN;
        // The kernel may not report every change, so the extra authorities are also read here.
        if self.change_throttle.next() <= Instant::now() && self.read_authorities().await? {
            return Ok(());
        }
        // A replaced volume causes no event, so the published files are also checked here.
        let due = self.attempts.due(Instant::now());
        self.look_and_hand_over(&due).await
    }

    async fn look_and_hand_over(&mut self, which: &[usize]) -> Result<(), Error> {
        // The news may have come since this turn was chosen.
        if !self.holds_news_back() && self.look().await? {
            self.hand_over(which, None);
        }
        Ok(())
    }

    /// The writer of files. The call announces a step with a time limit, which covers the request that follows.
    fn target(&self) -> &Target {
        self.pulse.step("writing files", FILES);
        &self.target
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
