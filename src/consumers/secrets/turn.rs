//! The task that holds the Lease, and says whether this replica writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::election::{Election, Move};
use super::settings::Lease as Settings;
use crate::kubernetes::{self, Client, Error, Lease};
use crate::text::ascii;
use crate::timing;

/// Whether this replica writes.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// Nothing is known yet.
    Unknown,
    /// It does, until this time.
    Writes(Instant),
    /// Another one does, with this identity.
    Waits(String),
    /// The Lease can be neither read nor written.
    Fails(Error),
}

impl Standing {
    /// Whether this replica may still begin to write.
    pub(super) fn is_writer(&self, now: Instant) -> bool {
        matches!(self, Self::Writes(until) if now < *until)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Writes(_) => "writes",
            Self::Waits(_) => "waits",
            Self::Fails(_) => "fails",
        }
    }
}

/// The task, which ends when this is dropped.
pub(super) struct Turn {
    standing: watch::Receiver<Standing>,
    /// The standing in the last attempt.
    handled: &'static str,
    task: AbortHandle,
    client: Arc<Client>,
    settings: Settings,
    /// What other replicas know this one by.
    identity: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Turn {
    pub(super) fn begin(client: &Arc<Client>, settings: &Settings) -> Self {
        let (report, standing) = watch::channel(Standing::Unknown);
        let (client, settings) = (Arc::clone(client), settings.clone());
        // Of a process that was killed nothing is left, so the next one in the same pod is another replica.
        let identity = format!("{}_{:016x}", settings.host, fastrand::u64(..));
        let election = Election::new(&identity, settings.duration);
        let task = tokio::spawn(hold(Arc::clone(&client), settings.clone(), election, report));
        Self { standing, handled: "unknown", task: task.abort_handle(), client, settings, identity }
    }

    /// The present standing, which an attempt handles. Waits a moment for the first.
    pub(super) async fn standing(&mut self, longest: Duration) -> Standing {
        let known = self.standing.wait_for(|it| !matches!(it, Standing::Unknown));
        drop(tokio::time::timeout(longest, known).await);
        let standing = self.now();
        self.handled = standing.name();
        standing
    }

    /// The present standing.
    pub(super) fn now(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Ends when the standing is another than in the last attempt. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        let handled = self.handled;
        if self.standing.wait_for(|it| it.name() != handled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the Lease up, so that another replica need not wait.
    pub(super) async fn release(&self) {
        self.task.abort();
        if !self.now().is_writer(Instant::now()) {
            return;
        }
        let Settings { namespace, name, .. } = &self.settings;
        let Ok(Some(lease)) = self.client.lease(namespace, name).await else { return };
        if lease.spec.holder_identity.as_deref() == Some(self.identity.as_str()) {
            let free =
                Election::released(&lease.spec, timing::utc_to_the_microsecond(timing::now()));
            let since = Some(&lease.metadata);
            if self.client.write_lease(namespace, name, &free, since).await.is_ok() {
                info!(
                    event = "lease-released",
                    name, namespace, "the Lease is free for another replica"
                );
            }
        }
    }
}

async fn hold(
    client: Arc<Client>,
    settings: Settings,
    mut election: Election,
    report: watch::Sender<Standing>,
) {
    let mut held: Option<Lease> = None;
    loop {
        let begun = Instant::now();
        let before = report.borrow().clone();
        let standing = match step(&client, &settings, &mut election, &mut held).await {
            Ok(standing) => standing,
            // A writer goes on until its time is over.
            Err(_) if before.is_writer(Instant::now()) => before.clone(),
            Err(error) => Standing::Fails(error),
        };
        tell(&settings, &election, &before, &standing);
        let until = match &standing {
            Standing::Writes(until) => Some(*until),
            _ => None,
        };
        report.send_replace(standing);
        let next = begun + election.every();
        if let Some(until) = until.filter(|until| *until <= next) {
            sleep_until(until).await;
            // Nothing was renewed in time.
            let over = Standing::Unknown;
            tell(&settings, &election, &report.borrow(), &over);
            report.send_replace(over);
        }
        sleep_until(next).await;
        // A server that answers late must not be asked without a pause.
        sleep(Duration::from_millis(100)).await;
    }
}

/// Renews the Lease, takes it, or waits.
async fn step(
    client: &Client,
    settings: &Settings,
    election: &mut Election,
    held: &mut Option<Lease>,
) -> Result<Standing, Error> {
    let Settings { namespace, name, .. } = settings;
    let known = match held.take() {
        Some(known) => Some(known),
        None => client.lease(namespace, name).await?,
    };
    let now = Instant::now();
    let before = known.as_ref().map(|it| &it.spec);
    if election.judge(before, now) == Move::Wait {
        let holder = before.and_then(|it| it.holder_identity.clone()).unwrap_or_default();
        return Ok(Standing::Waits(holder));
    }
    let spec = election.held(before, timing::utc_to_the_microsecond(timing::now()));
    let since = known.as_ref().map(|it| &it.metadata);
    match client.write_lease(namespace, name, &spec, since).await {
        Ok(lease) => {
            *held = Some(lease);
            Ok(Standing::Writes(now + election.writes()))
        }
        // Somebody was faster.
        Err(error) if error.status() == Some(409) => {
            let lease = client.lease(namespace, name).await?;
            let holder = lease.and_then(|it| it.spec.holder_identity).unwrap_or_default();
            Ok(Standing::Waits(holder))
        }
        // It was removed.
        Err(error) if error.status() == Some(404) && since.is_some() => {
            Ok(Standing::Waits(String::new()))
        }
        Err(error) => Err(error),
    }
}

/// Logs that this replica begins to write, or has to stop.
fn tell(settings: &Settings, election: &Election, before: &Standing, now: &Standing) {
    let lease = kubernetes::shown(&settings.namespace, &settings.name);
    let cause = match (before, now) {
        (Standing::Writes(_), Standing::Writes(_)) => return debug!("the Lease is renewed"),
        (_, Standing::Writes(_)) => {
            info!(
                event = "lease-acquired",
                lease,
                identity = ascii(election.identity()),
                "this replica writes the Secrets"
            );
            return;
        }
        (Standing::Writes(_), Standing::Waits(holder)) if !holder.is_empty() => {
            format!("{} has it", ascii(holder))
        }
        (Standing::Writes(_), Standing::Waits(_)) => "somebody has removed it".to_owned(),
        (Standing::Writes(_), Standing::Fails(error)) => error.to_string(),
        (Standing::Writes(_), Standing::Unknown) => "it could not be renewed in time".to_owned(),
        _ => return,
    };
    warn!(
        event = "lease-lost",
        lease,
        cause,
        "this replica no longer has the Lease, and writes no Secrets until it has it again"
    );
}
