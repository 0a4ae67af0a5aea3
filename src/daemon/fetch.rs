//! Publishes one generation and ends: for init containers, cron and scripts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::tasks::Tasks;
use super::{Confined, continue_from_disk, open, watch_files};
use crate::config::Config;
use crate::material::Material;
use crate::publish::{self, Peeked};
pub use crate::rotation::PublishedBy;
use crate::rotation::{self, NotPublished, Once, Rotation};
use crate::source::{Source, SourceState};
use crate::watching::Watching;
use crate::{timing, tokens};

/// The result.
#[derive(Debug)]
pub struct Fetched {
    /// The identity.
    pub material: Arc<Material>,
    /// Who published it.
    pub by: Publication,
    /// The files with tokens, and that of the JWT bundle.
    pub tokens: Vec<tokens::Kept>,
}

/// Who published the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// This call, or an earlier run.
    Here(PublishedBy),
    /// The instance that holds the directory.
    Another,
}

/// Publishes one generation within `limit`. `progress` gets what it waits for, on each change.
///
/// A published set with more than half of its lifetime left is enough if the agent does not answer soon, unless it must be
/// `fresh`. If another instance holds the directory, this waits until that one's set has more than half of its lifetime left;
/// with `fresh` it fails.
pub async fn fetch(
    confined: Confined,
    limit: Duration,
    fresh: bool,
    progress: watch::Sender<String>,
) -> anyhow::Result<Fetched> {
    // Process 1 of a container only gets signals that it handles.
    let (mut terminate, mut interrupt) = termination()?;
    let deadline = Instant::now() + limit;
    let asked = Once { fresh, exposed: limit / 2 };
    let (published, lacks) = (AtomicBool::new(false), AtomicBool::new(false));
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
        fetched = timeout_at(deadline, attempt(confined, asked, &watching, &progress, [&published, &lacks])) => {
            if let Ok(fetched) = fetched {
                return fetched;
            }
            let (limit, waiting) = (humantime::format_duration(limit), progress.borrow());
            if lacks.load(Ordering::Relaxed) {
                bail!("not everything that this configuration asks for within {limit}: {}", *waiting);
            }
            if published.load(Ordering::Relaxed) {
                bail!("the certificates are published, but not every token within {limit}: {}", *waiting);
            }
            bail!("no identity within {limit}: {}", *waiting)
        }
    }
}

async fn attempt(
    confined: Confined,
    asked: Once,
    watching: &Watching,
    progress: &watch::Sender<String>,
    [published, lacks]: [&AtomicBool; 2],
) -> anyhow::Result<Fetched> {
    let opened = match open(&confined) {
        Ok(opened) => opened,
        Err(error) if is_locked(&error) && asked.fresh => {
            return Err(error.context(
                "--fresh cannot ask the agent, because the pgsvid that holds the directory does; leave it out, or stop that pgsvid",
            ));
        }
        Err(error) if is_locked(&error) => {
            let Confined { mut config, .. } = confined;
            let wanted = config.tokens.take();
            let material = another(&config, watching, progress, lacks).await?;
            published.store(true, Ordering::Relaxed);
            let tokens = tokens(wanted, &material, true, progress).await?;
            return Ok(Fetched { material, by: Publication::Another, tokens });
        }
        Err(error) => return Err(error),
    };
    let Confined { mut config, .. } = confined;
    continue_from_disk(&mut config, &opened);
    let wanted = config.tokens.take();
    let (source, state) = Source::new(config.source, watching.clone());
    // Nobody requests it again, and nobody reads the status.
    let again = Arc::default();
    let (rotation, _status) =
        Rotation::new(&config.rotation, opened, state.clone(), watching, again, None)?;
    let mut refusal = None;
    let source = async {
        refusal = source.run(CancellationToken::new()).await.err();
        std::future::pending::<Infallible>().await
    };
    let once = tokio::select! {
        once = rotation.once(asked) => once,
        never = source => match never {},
        never = tell(state, progress) => match never {},
    };
    match (once, refusal) {
        (Ok((material, by)), _) => {
            published.store(true, Ordering::Relaxed);
            let tokens = tokens(wanted, &material, false, progress).await?;
            Ok(Fetched { material, by: Publication::Here(by), tokens })
        }
        (Err(NotPublished::SourceEnded), Some(refusal)) => {
            Err(refusal).context("the Workload API refuses this program")
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Writes the tokens of the identity. `is_shared` as for [`tokens::once`].
async fn tokens(
    wanted: Option<tokens::Settings>,
    material: &Material,
    is_shared: bool,
    progress: &watch::Sender<String>,
) -> anyhow::Result<Vec<tokens::Kept>> {
    let (Some(wanted), Some(spiffe_id)) = (wanted, material.spiffe_id()) else {
        return Ok(Vec::new());
    };
    progress.send_replace("the agent has not answered the request for tokens".to_owned());
    tokens::once(&wanted, &spiffe_id.to_string(), is_shared, progress)
        .await
        .map_err(|failure| with_remedy(&failure))
}

/// The certificates are published by then; only the tokens are missing.
fn with_remedy(failure: &tokens::Failure) -> anyhow::Error {
    // The text of an error of a file says it already.
    let fix = match failure {
        tokens::Failure::File(_) => String::new(),
        other => format!("; {}", other.fix()),
    };
    anyhow::anyhow!("the certificates are published, but not every token: {failure}{fix}")
}

/// Reports what it waits for.
async fn tell(
    mut state: watch::Receiver<SourceState>,
    progress: &watch::Sender<String>,
) -> Infallible {
    loop {
        progress.send_replace(state.borrow_and_update().to_string());
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for the set of the instance that holds the directory.
async fn another(
    config: &Config,
    watching: &Watching,
    progress: &watch::Sender<String>,
    lacks: &AtomicBool,
) -> anyhow::Result<Arc<Material>> {
    let waiting = "another pgsvid holds the directory; waiting for its set";
    let renewal = "another pgsvid holds the directory, and its set has less than half of its lifetime left; waiting for a newer one";
    let mut said = String::new();
    let publish = config.place.directory().context("there is no directory to publish to")?;
    let mut changes = watching.directories([publish.directory.clone()]);
    loop {
        let peeked = publish::peek(publish, config.source.expectations(), timing::now());
        lacks.store(matches!(peeked, Ok(Peeked::Other(_))), Ordering::Relaxed);
        let reason = match peeked {
            Ok(Peeked::Set(material)) if rotation::is_young(&material, timing::now()) => {
                return Ok(Arc::from(material));
            }
            Ok(Peeked::Set(_)) => renewal.to_owned(),
            Ok(Peeked::Nothing) => waiting.to_owned(),
            Ok(Peeked::Other(lacking)) => format!(
                "another pgsvid holds the directory, and {lacking}; give both the same configuration, or this one a directory of its own"
            ),
            // The instance that holds the directory may be about to replace it.
            Err(error @ publish::Error::NotOurs(_)) => format!("{waiting}; {error}"),
            Err(error) => return Err(error.into()),
        };
        if said != reason {
            info!(event = "waiting", directory = %publish.directory.display(), "{reason}");
            said.clone_from(&reason);
        }
        progress.send_replace(reason);
        tokio::select! {
            () = changes.changed() => {}
            // In case the kernel reports nothing.
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    error.downcast_ref::<publish::Error>().is_some_and(publish::Error::is_locked)
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
