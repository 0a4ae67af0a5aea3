//! The composition root: builds the rooms, owns their tasks, and ends when one of them does.

mod alarm;
mod application;
mod confinement;
mod fetch;
mod hooks;
mod notify;
mod reach;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tracing::{error, info, warn};

pub use application::{Application, NotInTime, agree_on_application};
pub use confinement::{Confined, confine, turn_off_output};
pub use fetch::{Fetched, Publication, PublishedBy, fetch};
pub use hooks::agree as agree_on_hooks;
pub use notify::Notify;
pub use reach::Replaced;
use tasks::Tasks;
pub use tasks::running as running_task;

use crate::config::Config;
use crate::consumers::{ClientLogin, SecretTarget, ServedAddress};
use crate::hooks::{Answer, SetSum};
use crate::http::{self, Listen, Listener};
use crate::parent::{Channel, Order, Orders, ParentMessage, Predecessor};
use crate::publish::{self, Opened, Place, Publisher};
use crate::rotation::{self, Rotation};
use crate::source::{self, Source};
use crate::status::{Restarts, Status};
use crate::tokens::Tokens;
use crate::watching::Watching;
use crate::{threads, timing};

/// How long the kernel may still count a thread that has ended.
const AFTER_A_THREAD: Duration = Duration::from_millis(5);
/// The reason for the end if the process that started this one is gone.
const ORPHAN: &str = "the parent has ended";

/// Runs until the parent requests the end, or until a task fails.
pub async fn run(
    confined: Confined,
    channel: Channel,
    listener: Result<Option<Listener>, http::Error>,
    manager: Option<Notify>,
    application: Option<Application>,
) -> anyhow::Result<()> {
    announce(&confined.config, &channel);
    confined.announce();
    if let Some(application) = &application {
        application.announce(&channel);
    }
    let source_place = confined.config.source.place();

    let mut tasks = Tasks::new();
    let watching = watch_files(&mut tasks);
    let opened = open(&confined)?;
    watch_what_is_cut_off(&mut tasks, &confined, &watching);
    let Confined { mut config, held: _held, .. } = confined;
    continue_from_disk(&mut config, &opened);
    let from_files = config.source.files().is_some();
    start_blocking_thread(&config).await?;
    let listener = listening(listener, config.health.as_ref());
    let (mut source, state) = Source::new(config.source, watching.clone());
    let again = Arc::new(tokio::sync::Notify::new());
    let (line, answers) = hooks::line(&channel, &config.rotation.hooks)?;
    let identity = state.clone();
    let (mut rotation, status) =
        Rotation::new(&config.rotation, opened, state, &watching, Arc::clone(&again), line)?;
    take_over(&channel, &mut source, &rotation.status());
    let first_tokens = first_tokens(config.tokens.as_ref(), application.is_some());
    let tokens = config.tokens.map(|settings| {
        let (tokens, written) = Tokens::new(settings, identity, rotation.status(), &watching);
        rotation.follow_tokens(written);
        tokens
    });

    let mut orders = channel.open().context("cannot listen to the parent")?;
    let stop = tasks.stop();
    tasks.spawn(if from_files { "certificate files" } else { "workload API" }, {
        let stop = stop.clone();
        async move {
            match source.run(stop).await {
                Err(error @ source::Error::PathTooLong { .. }) => Err(error.into()),
                ended => ended.context("the Workload API refuses this program"),
            }
        }
    });
    tasks.spawn("rotation", async move { Ok(rotation.run(stop).await?) });
    if let Some(tokens) = tokens {
        let stop = tasks.stop();
        tasks.spawn("tokens", async move { Ok(tokens.run(stop).await?) });
    }
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
            match http::serve(listener, status).await.context("the HTTP server failed")? {}
        });
    }

    let gives_up = loop {
        tokio::select! {
            ended = tasks.ended() => {
                alarm::at_the_end(&seen.borrow());
                return ended;
            }
            set = has_started(&mut starting, first_tokens) => {
                orders.tell_ready(&set);
                starting = None;
            }
            heard = orders.next() => match heard.context(ORPHAN)? {
                ParentMessage::Order(Order::Again) => again.notify_one(),
                ParentMessage::Order(Order::End) => break false,
                ParentMessage::Order(Order::GiveUp) => break true,
                ParentMessage::Answer(answer) => drop(answers.send(*answer)),
                ParentMessage::Report(report) => application::tell(report),
            },
        }
    };
    let not_in_time = application
        .filter(|_| gives_up)
        .map(|application| application.not_in_time(source_place, &seen.borrow()));
    info!(event = "ending", "ending");
    if let Some(manager) = &manager {
        manager.stopping();
    }
    tasks.stop().cancel();
    tokio::select! {
        ended = tasks.finish() => match not_in_time {
            Some(error) => Err(error.into()),
            None => ended,
        },
        order = until_end(&mut orders, &answers) => {
            order.context(ORPHAN)?;
            anyhow::bail!("ended at once: a second signal came before the running work was done")
        }
    }
}

/// Exit status of a daemon that ends only to be replaced by one with another sandbox ([`Replaced`]). The parent takes it for that of
/// a daemon that was able to run.
pub const REPLACED: u8 = 75;

/// Ends the daemon, so that the parent starts another one, when a path leads to what its sandbox denies.
fn watch_what_is_cut_off(tasks: &mut Tasks, confined: &Confined, watching: &Watching) {
    if let Some(cut_off) = confined.until_cut_off(watching) {
        tasks.spawn_background("sockets", cut_off);
    }
    if let Some(cut_off) = confined.until_files_cut_off(watching) {
        tasks.spawn_background("certificate directories", cut_off);
    }
}

/// Starts the thread for calls that may block, if the configuration needs one.
async fn start_blocking_thread(config: &Config) -> anyhow::Result<()> {
    if may_block(config) {
        // The thread stays, because later none may be available. tokio panics if it gets none, so one is requested first; the
        // kernel counts it for a moment after its end.
        threads::start("blocking", "reads the password and looks up names", || ())?;
        tokio::time::sleep(AFTER_A_THREAD).await;
        tokio::task::spawn_blocking(|| ()).await?;
    }
    Ok(())
}

/// Whether something is configured that may block: files are read, tokens written, or names looked up.
fn may_block(config: &Config) -> bool {
    let mut servers = config.rotation.servers.iter();
    let mut poolers = config.rotation.poolers.iter();
    let mut patroni = config.rotation.patroni.iter();
    config.source.files().is_some()
        || config.tokens.is_some()
        || servers.any(|it| it.session.password_file.is_some() || it.verify.looks_up)
        || poolers.any(|it| it.verify.looks_up)
        || patroni.any(|it| it.credentials.is_some() || it.verify.looks_up)
        || config.rotation.clients.iter().any(ClientLogin::looks_up)
        || config.rotation.secrets.is_some()
}

/// The listener, if there is one: somebody else may have taken the address between two daemons.
fn listening(
    listener: Result<Option<Listener>, http::Error>,
    listen: Option<&Listen>,
) -> Option<Listener> {
    let listener = listener.unwrap_or_else(|error| {
        error!(
            event = "status-not-listening",
            cause = %error,
            fix = "end the process that listens there, then restart pgsvid; no other user can take a Unix socket in a directory that only \
                   pgsvid may write to (health.listen = \"unix:/…\")",
            "nobody answers at health.listen for this pgsvid; renewals go on"
        );
        None
    });
    if let Some(listen) = listen.filter(|_| listener.is_some()) {
        info!(event = "status-listening", %listen, "health, metrics and status");
    }
    listener
}

/// How many files of tokens must be written before an application starts: it may need them at once.
fn first_tokens(tokens: Option<&crate::tokens::Settings>, has_application: bool) -> usize {
    tokens.filter(|_| has_application).map_or(0, |settings| settings.files().count())
}

/// Waits once until a valid set is published, and this many files of tokens are written; returns the sum of the set.
async fn has_started(status: &mut Option<watch::Receiver<Status>>, tokens: usize) -> SetSum {
    let has_started = |status: &Status| {
        let now = timing::now();
        let there = status.tokens.iter().filter(|token| token.is_there(now)).count();
        status.has_started(now) && there >= tokens
    };
    if let Some(status) = status
        && let Ok(status) = status.wait_for(has_started).await
        && let Some(published) = &status.published
    {
        return *published.set.bytes();
    }
    // It has waited before, or the loop has ended; the owner of the tasks reports why.
    std::future::pending().await
}

async fn until_end(orders: &mut Orders, answers: &UnboundedSender<Answer>) -> std::io::Result<()> {
    loop {
        match orders.next().await? {
            ParentMessage::Order(Order::End | Order::GiveUp) => return Ok(()),
            ParentMessage::Order(Order::Again) => {}
            ParentMessage::Answer(answer) => drop(answers.send(*answer)),
            ParentMessage::Report(report) => application::tell(report),
        }
    }
}

fn announce(config: &Config, channel: &Channel) {
    let replaced = format!("exit status: {REPLACED}");
    let servers = config.rotation.servers.iter();
    let servers: Vec<_> = servers
        .map(|server| format!("{}:{}", server.session.host.display(), server.session.port))
        .collect();
    let servers = (!servers.is_empty()).then(|| servers.join(", "));
    let poolers = config.rotation.poolers.iter();
    let poolers: Vec<_> =
        poolers.map(|it| format!("{}:{}", it.console.host.display(), it.console.port)).collect();
    let poolers = (!poolers.is_empty()).then(|| poolers.join(", "));
    let clients = config.rotation.clients.iter();
    let clients: Vec<_> = clients.map(ClientLogin::shown).collect();
    let served = config.rotation.served.iter();
    let served: Vec<_> = served.map(ServedAddress::shown).collect();
    info!(
        event = "started",
        endpoint = config.source.workload_api().map(|settings| settings.endpoint.to_string()),
        certificates =
            config.source.files().map(|settings| settings.paths.certificate.display().to_string()),
        directory = config.place.directory().map(|it| it.directory.display().to_string()),
        postgres = servers,
        pgbouncer = poolers,
        patroni = config.rotation.patroni.as_ref().map(|it| it.verify.target.to_string()),
        client = (!clients.is_empty()).then(|| clients.join(", ")),
        secrets = secrets_of(config),
        served = (!served.is_empty()).then(|| served.join(", ")),
        configuration = config.file.as_ref().map(|path| path.display().to_string()),
        "pgsvid {}",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(Predecessor { restarts, .. }) =
        channel.predecessor().filter(|it| it.ended == replaced)
    {
        info!(
            event = "daemon-replaced",
            restarts,
            "this process replaces one whose sandbox did not permit the directory of the files of [certificates]"
        );
    } else if let Some(Predecessor { restarts, ended }) = channel.predecessor() {
        error!(
            event = "daemon-restarted",
            restarts,
            cause = ended,
            fix = "read the log lines before this one; after SIGKILL, check the kernel's messages about memory (dmesg), and the memory limit",
            "the process before this one ended unexpectedly, and was replaced"
        );
    }
}

/// Continues the work of the daemon before this one, if there was one.
fn take_over(channel: &Channel, source: &mut Source, status: &watch::Sender<Status>) {
    let Some(Predecessor { restarts, ended }) = channel.predecessor() else { return };
    source.persist();
    let restarts = Restarts { count: *restarts, ended: ended.clone() };
    status.send_modify(|status| status.restarts = Some(restarts));
}

/// The Secrets, for the log; `None` if there are none.
fn secrets_of(config: &Config) -> Option<String> {
    let secrets = config.rotation.secrets.as_ref()?;
    let names: Vec<_> = secrets.targets.iter().map(SecretTarget::shown).collect();
    Some(names.join(", "))
}

/// Passes the names of the set on disk to the source and to the loop. Of several SVIDs, the source keeps to the published
/// one, and names that a new set lacks are reported.
fn continue_from_disk(config: &mut Config, opened: &Opened) {
    let names = opened.names_on_disk();
    config.source.set_published(names.clone());
    config.rotation.before = names;
}

/// Prepares the place for the loop.
fn open(confined: &Confined) -> anyhow::Result<Opened> {
    Ok(match &confined.config.place {
        Place::Directory(settings) => {
            Opened::Directory(Box::new(open_publisher(confined, settings)?))
        }
        Place::InPlace(place) => Opened::InPlace(place.clone()),
        Place::Memory => Opened::Memory,
    })
}

/// Opens the directory, and reports notable facts about it.
fn open_publisher(confined: &Confined, settings: &publish::Settings) -> anyhow::Result<Publisher> {
    if settings.group.is_some() && !rustix::process::geteuid().is_root() {
        // The key would belong to this process's user, and PostgreSQL refuses it with a group bit.
        anyhow::bail!(
            "files.group needs root: PostgreSQL only accepts a key that a group can read if root owns it; leave it out"
        );
    }
    let mut publisher = Publisher::open(settings.clone())?;
    if confined.is_bound_to_directory() {
        publisher.bind();
    }
    rotation::tell_disowned(&publisher.take_disowned());
    rotation::tell_trust(publisher.directory(), publisher.trust(), publisher.is_exposed());
    if publisher.is_locked_here_alone() {
        warn!(event = "lock-of-this-machine",
            directory = %settings.directory.display(),
            fix = "publish to a file system of this machine, such as a tmpfs below /run; or let no other machine publish there",
            "the lock of the published directory does not keep out a pgsvid on another machine: each would remove the other's sets"
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
