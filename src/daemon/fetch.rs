//! One generation, then the end: for init containers, cron and scripts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::tasks::Tasks;
use super::{Confined, open_publisher, watch_files};
use crate::config::Config;
use crate::material::Material;
use crate::publish::{self, Publisher, Worker};
use crate::rotation;
use crate::source::{self, ExtraAuthorities, Identity, Look, Source, SourceState};
use crate::text::sentence;
use crate::timing;
use crate::watching::Watching;

/// What there is now.
#[derive(Debug)]
pub struct Fetched {
    /// Whose identity it is.
    pub material: Arc<Material>,
    /// Who published it.
    pub by: Publication,
}

/// Who published the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// This call.
    Fresh,
    /// An earlier run; it has more than half of its life before it.
    Earlier,
    /// The same, but others may have put an older set back, and the agent could not be asked for the newest one.
    Unconfirmed,
    /// The instance that holds the directory.
    Another,
}

/// Publishes one generation within `limit`. `progress` gets what is being waited for, whenever it changes.
///
/// A set that is there already and has more than half of its life before it is enough, except where others may rename
/// what is published: there the agent is asked first. Where another instance holds the directory, its set is waited for.
pub async fn fetch(
    confined: Confined,
    limit: Duration,
    progress: watch::Sender<String>,
) -> anyhow::Result<Fetched> {
    // Process 1 of a container gets no signal that it has no handler for.
    let (mut terminate, mut interrupt) = termination()?;
    let deadline = Instant::now() + limit;
    let mut tasks = Tasks::new();
    let watching = watch_files(&mut tasks);
    tokio::select! {
        ended = tasks.ended() => {
            ended?;
            bail!("there is nothing to wait for")
        }
        () = asked_to_end(&mut terminate, &mut interrupt) => {
            bail!("ended by a signal; what was published before is still in place")
        }
        fetched = timeout_at(deadline, attempt(confined, limit, &watching, &progress)) => match fetched {
            Ok(fetched) => fetched,
            Err(_) => bail!(
                "no identity within {}: {}",
                humantime::format_duration(limit),
                *progress.borrow()
            ),
        },
    }
}

async fn attempt(
    confined: Confined,
    limit: Duration,
    watching: &Watching,
    progress: &watch::Sender<String>,
) -> anyhow::Result<Fetched> {
    let mut publisher = match open_publisher(&confined) {
        Ok(publisher) => publisher,
        Err(error) if is_locked(&error) => {
            return another(&confined.config, watching, progress).await;
        }
        Err(error) => return Err(error),
    };
    let Confined { config, .. } = confined;
    let mut authorities = ExtraAuthorities::read(config.rotation.extra_authorities, watching)?;
    let expectations = &config.source.expectations;
    let existing = publisher.existing(expectations, timing::now());
    rotation::tell_disowned(&publisher.take_disowned());
    let existing = existing?.filter(|material| is_young(material, timing::now())).map(Arc::new);
    let (material, by) = match existing {
        Some(existing) if publisher.is_exposed() => {
            newest(&config.source, limit / 2, existing).await
        }
        Some(existing) => (existing, Publication::Earlier),
        None => (receive(config.source, watching, progress).await?, Publication::Fresh),
    };
    authorities.tell_left_out(&material);
    let authorities = authorities.beside(&material);
    if by != Publication::Fresh && publisher.holds(&material, &authorities) && publisher.is_intact()
    {
        return Ok(Fetched { material, by });
    }
    // It is new; or a link is missing, as after a kill, or modes, group or companions are configured otherwise than then.
    let by = if by == Publication::Unconfirmed { by } else { Publication::Fresh };
    let publishing = {
        let material = Arc::clone(&material);
        move |publisher: &mut Publisher| {
            let outcome = publisher.publish(&material, &authorities);
            rotation::tell_disowned(&publisher.take_disowned());
            // Somebody may have put another set there at once.
            let intact = publisher.is_intact();
            publisher.sweep(timing::now());
            outcome.map(|_| intact)
        }
    };
    let outcome = Worker::start(publisher)?.with(publishing).await?;
    if !outcome? {
        bail!(
            "the published files were changed by somebody else at once: let nobody else write to the directory"
        );
    }
    Ok(Fetched { material, by })
}

/// What the agent has now, or what is published if the agent has nothing to say within `limit`.
async fn newest(
    settings: &source::Settings,
    limit: Duration,
    existing: Arc<Material>,
) -> (Arc<Material>, Publication) {
    let answer = match timeout(limit, source::look(settings)).await {
        Ok(Ok(Look { material: Ok(material), .. })) => {
            return (Arc::new(material), Publication::Earlier);
        }
        Ok(Ok(Look { material: Err(reason), .. })) => sentence(&reason.to_string()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {}", humantime::format_duration(limit)),
    };
    warn!(
        event = "older-set-possible",
        answer,
        "others may have put an older set back, and the agent cannot be asked for the newest one"
    );
    (existing, Publication::Unconfirmed)
}

/// Waits for the first identity.
async fn receive(
    settings: source::Settings,
    watching: &Watching,
    progress: &watch::Sender<String>,
) -> anyhow::Result<Arc<Material>> {
    let (source, mut state) = Source::new(settings, watching.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let first = async {
        loop {
            let now: SourceState = state.borrow_and_update().clone();
            if let Identity::Current(material) = now.identity {
                return material;
            }
            progress.send_replace(now.to_string());
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        material = first => Ok(material),
        ended = source.run(stop.clone()) => {
            ended.context("the Workload API refuses this program")?;
            bail!("the connection to the agent ended")
        }
    }
}

/// Waits for the set of the instance that holds the directory.
async fn another(
    config: &Config,
    watching: &Watching,
    progress: &watch::Sender<String>,
) -> anyhow::Result<Fetched> {
    let waiting = "another pgsvid holds the directory; waiting for its set";
    let renewal = "another pgsvid holds the directory, and its set has less than half of its life before it; waiting for a newer one";
    let mut said = false;
    let mut changes = watching.directories([config.publish.directory.clone()]);
    loop {
        match publish::peek(&config.publish, &config.source.expectations, timing::now()) {
            Ok(Some(material)) if is_young(&material, timing::now()) => {
                return Ok(Fetched { material: Arc::new(material), by: Publication::Another });
            }
            Ok(Some(_)) => drop(progress.send_replace(renewal.to_owned())),
            Ok(None) => drop(progress.send_replace(waiting.to_owned())),
            // The one that holds the directory may be about to replace it.
            Err(error @ publish::Error::NotOurs(_)) => {
                progress.send_replace(format!("{waiting}; {error}"));
            }
            Err(error) => return Err(error.into()),
        }
        if !std::mem::replace(&mut said, true) {
            info!(event = "waiting", directory = %config.publish.directory.display(), "{waiting}");
        }
        tokio::select! {
            () = changes.changed() => {}
            // In case that the kernel tells us nothing.
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    error.downcast_ref::<publish::Error>().is_some_and(publish::Error::is_locked)
}

fn is_young(material: &Material, now: SystemTime) -> bool {
    let life =
        material.not_after().duration_since(material.leaf().not_before()).unwrap_or_default();
    material.not_after().duration_since(now).is_ok_and(|left| left > life / 2)
}

/// SIGTERM and SIGINT.
fn termination() -> anyhow::Result<(Signal, Signal)> {
    let terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    Ok((terminate, interrupt))
}

async fn asked_to_end(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
