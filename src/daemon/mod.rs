//! The composition root: builds the rooms, owns their tasks, and ends when one of them does.

mod alarm;
mod confinement;
mod fetch;
mod notify;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tracing::{error, info, warn};

pub use confinement::{Confined, confine, turn_off_output};
pub use fetch::{Fetched, Publication, fetch};
pub use notify::Notify;
use tasks::Tasks;
pub use tasks::running as running_task;

use crate::config::{self, Config};
use crate::http::{self, Listener};
use crate::parent::{Channel, Order, Orders, Predecessor};
use crate::publish::{Companion, Publisher};
use crate::rotation::{self, Rotation};
use crate::source::{self, Source};
use crate::status::Status;
use crate::watching::Watching;
use crate::{threads, timing};

/// How long the kernel may count a thread that has nothing to do.
const AFTER_A_THREAD: Duration = Duration::from_millis(5);
/// The process that has started this one is gone.
const ORPHAN: &str = "the parent has ended";

/// Runs until the parent says that it is over, or until a task fails.
pub async fn run(
    confined: Confined,
    channel: Channel,
    listener: Option<Listener>,
    manager: Option<Notify>,
) -> anyhow::Result<()> {
    announce(&confined.config, &channel);
    confined.announce();

    let mut tasks = Tasks::new();
    let watching = watch_files(&mut tasks);
    let publisher = open_publisher(&confined)?;
    if let Some(cut_off) = confined.until_cut_off(&watching) {
        tasks.spawn_background("sockets", cut_off);
    }
    let Confined { config, held: _held, .. } = confined;
    let mut servers = config.rotation.servers.iter();
    if servers.any(|it| it.session.password_file.is_some() || it.verify.looks_up) {
        // What reads files and looks up names may block, too. The thread stays: none may be to be had later. tokio panics where
        // it gets none, so one is asked for before; the kernel counts it for a moment after its end.
        threads::start("blocking", "reads the password and looks up names", || ())?;
        tokio::time::sleep(AFTER_A_THREAD).await;
        tokio::task::spawn_blocking(|| ()).await?;
    }
    if let Some(listen) = &config.health {
        info!(event = "status-listening", %listen, "health, metrics and status");
    }
    let (mut source, state) = Source::new(config.source, watching.clone());
    if channel.predecessor().is_some() {
        source.persist();
    }
    let again = Arc::new(tokio::sync::Notify::new());
    let (rotation, status) =
        Rotation::new(&config.rotation, publisher, state, &watching, Arc::clone(&again))?;

    let mut orders = channel.open().context("cannot listen to the parent")?;
    let stop = tasks.stop();
    tasks.spawn("workload API", {
        let stop = stop.clone();
        async move {
            match source.run(stop).await {
                Err(error @ source::Error::PathTooLong { .. }) => Err(error.into()),
                ended => ended.context("the Workload API refuses this program"),
            }
        }
    });
    tasks.spawn("rotation", async move { Ok(rotation.run(stop).await?) });
    tasks.spawn_background("alarm", alarm::run(status.clone()));
    let (seen, mut starting) = (status.clone(), Some(status.clone()));
    let manager = manager.map(Arc::new);
    if let Some(manager) = manager.clone() {
        let status = status.clone();
        tasks.spawn_background("service manager", async move {
            manager.run(status).await;
            anyhow::bail!("it has ended by itself")
        });
    }
    if let Some(listener) = listener {
        tasks.spawn_background("status", async move {
            match http::serve(listener, status).await.context("cannot answer who asks")? {}
        });
    }

    loop {
        tokio::select! {
            ended = tasks.ended() => {
                alarm::at_the_end(&seen.borrow());
                return ended;
            }
            () = has_started(&mut starting) => {
                orders.tell_ready();
                starting = None;
            }
            order = orders.next() => match order.context(ORPHAN)? {
                Order::Again => again.notify_one(),
                Order::End => break,
            },
        }
    }
    info!(event = "ending", "ending");
    if let Some(manager) = &manager {
        manager.stopping();
    }
    tasks.stop().cancel();
    tokio::select! {
        ended = tasks.finish() => ended,
        order = until_end(&mut orders) => {
            order.context(ORPHAN)?;
            anyhow::bail!("ended at once: a second signal came before the work in hand was done")
        }
    }
}

/// Waits for a published set that is valid; once.
async fn has_started(status: &mut Option<watch::Receiver<Status>>) {
    if let Some(status) = status
        && status.wait_for(|status| status.has_started(timing::now())).await.is_ok()
    {
        return;
    }
    // It was waited for before, or the loop has ended, and whoever owns it says why.
    std::future::pending::<()>().await;
}

async fn until_end(orders: &mut Orders) -> std::io::Result<()> {
    while orders.next().await? != Order::End {}
    Ok(())
}

fn announce(config: &Config, channel: &Channel) {
    let servers = config.rotation.servers.iter();
    let servers: Vec<_> = servers
        .map(|server| format!("{}:{}", server.session.host.display(), server.session.port))
        .collect();
    let servers = (!servers.is_empty()).then(|| servers.join(", "));
    info!(event = "started",
        endpoint = %config.source.endpoint,
        directory = %config.publish.directory.display(),
        postgres = servers,
        configuration = config.file.as_ref().map(|path| path.display().to_string()),
        "pgsvid {}",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(Predecessor { restarts, ended }) = channel.predecessor() {
        error!(
            event = "daemon-restarted",
            restarts,
            cause = ended,
            fix = "see what was said before; after SIGKILL, what the kernel says of memory (dmesg), and the memory limit",
            "the process before this one ended without being asked to, and was replaced"
        );
    }
}

/// Opens the directory, and says what is worth knowing about it.
fn open_publisher(confined: &Confined) -> anyhow::Result<Publisher> {
    let config = &confined.config;
    if config.publish.group.is_some() && !rustix::process::geteuid().is_root() {
        // The key would belong to us, and with a group bit PostgreSQL refuses it.
        anyhow::bail!(
            "files.group needs root: only root's keys may be readable for a group; leave it out"
        );
    }
    let mut companions = Vec::new();
    if let Some(service) = config.service.clone() {
        let names = config::names(&config.publish);
        companions.push(Companion {
            name: service.file.clone(),
            render: Arc::new(move |generation| service.render(&names, generation)),
        });
    }
    if let Some(name) = config.ident.clone() {
        let map = config.roles.render();
        companions.push(Companion { name, render: Arc::new(move |_| map.clone()) });
    }
    let mut publisher = Publisher::open(config.publish.clone(), companions)?;
    if confined.is_bound_to_directory() {
        publisher.bind();
    }
    rotation::tell_disowned(&publisher.take_disowned());
    rotation::tell_trust(&publisher);
    if publisher.is_locked_here_alone() {
        warn!(event = "lock-of-this-machine",
            directory = %config.publish.directory.display(),
            fix = "publish to a file system of this machine, such as a tmpfs below /run; or let no other machine publish there",
            "the lock of the published directory keeps out no pgsvid of another machine: each would remove the other's sets"
        );
    }
    Ok(publisher)
}

/// The kernel gives each user few inotify instances; without one, timers do the work.
fn watch_files(tasks: &mut Tasks) -> Watching {
    match Watching::start() {
        Ok((watching, task)) => {
            tasks.spawn_background("file watching", async move {
                task.await;
                anyhow::bail!("the kernel has ended the stream of file events")
            });
            watching
        }
        Err(error) => {
            warn!(event = "watching-failed", %error, "cannot watch files (raise fs.inotify.max_user_instances?); retrying by time only");
            Watching::blind()
        }
    }
}
