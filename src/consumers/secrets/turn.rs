//! The task that holds the Lease, and says whether this replica writes.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::election::{Election, Move};
use super::settings::Lease as Settings;
use crate::kubernetes::{self, Client, Error, Lease};
use crate::text::ascii;
use crate::timing;

/// How often the Lease is judged again because somebody has changed it meanwhile.
const ROUNDS: usize = 3;

/// Whether this replica writes.
#[derive(Debug, Clone)]
pub(super) enum LeaseState {
    /// Nothing is known yet.
    Unknown,
    /// It does, until this time.
    Writes(Instant),
    /// Another one does, with this identity; it is empty if nobody does, or if this one may not yet.
    Waits(String),
    /// This one does not compete, because another can do better; this one has the Lease, if anybody has.
    Resigned(String),
    /// The Lease can be neither read nor written.
    Fails(Error),
}

impl LeaseState {
    /// Whether this replica may still begin to write.
    pub(super) fn is_writer(&self, now: Instant) -> bool {
        matches!(self, Self::Writes(until) if now < *until)
    }
}

/// Whether this replica should have the Lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Candidacy {
    /// Until when its set is neither expired nor late.
    pub(super) fresh_until: Option<SystemTime>,
    /// Until when it leaves the Lease to others, because it could write no Secret.
    pub(super) rests_until: Option<Instant>,
}

impl Candidacy {
    /// Why this replica should not have the Lease; `None` if it should.
    fn obstacle(&self) -> Option<&'static str> {
        if self.fresh_until.is_none_or(|until| until <= timing::now()) {
            return Some("no newer certificate has come in time");
        }
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        rests.then_some("it cannot write the Secrets")
    }
}

/// The task, which ends when this is dropped.
pub(super) struct LeaseTask {
    standing: watch::Receiver<LeaseState>,
    /// The kind of standing in the last attempt.
    handled: Discriminant<LeaseState>,
    task: AbortHandle,
    client: Arc<Client>,
    settings: Settings,
    /// What other replicas know this one by.
    identity: String,
}

impl Drop for LeaseTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LeaseTask {
    pub(super) fn begin(
        client: &Arc<Client>,
        settings: &Settings,
        candidacy: watch::Receiver<Candidacy>,
    ) -> Self {
        let (report, standing) = watch::channel(LeaseState::Unknown);
        let (client, settings) = (Arc::clone(client), settings.clone());
        // Of a process that was killed nothing is left, so the next one in the same pod is another replica.
        let identity = format!("{}_{:016x}", settings.host, fastrand::u64(..));
        let election = Election::new(&identity, settings.duration);
        let task = hold(Arc::clone(&client), settings.clone(), election, candidacy, report);
        let task = tokio::spawn(task);
        let handled = discriminant(&LeaseState::Unknown);
        Self { standing, handled, task: task.abort_handle(), client, settings, identity }
    }

    /// The present standing, which an attempt handles. Waits a moment for the first.
    pub(super) async fn standing(&mut self, longest: Duration) -> LeaseState {
        let known = self.standing.wait_for(|it| !matches!(it, LeaseState::Unknown));
        drop(tokio::time::timeout(longest, known).await);
        let standing = self.now();
        self.handled = discriminant(&standing);
        standing
    }

    /// The present standing.
    pub(super) fn now(&self) -> LeaseState {
        self.standing.borrow().clone()
    }

    /// Ends when the standing is of another kind than in the last attempt. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        let handled = self.handled;
        if self.standing.wait_for(|it| discriminant(it) != handled).await.is_err() {
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
            give_up(&self.client, &self.settings, &lease, "it ends").await;
        }
    }
}

/// Writes the Lease without a holder.
async fn give_up(client: &Client, settings: &Settings, lease: &Lease, cause: &str) {
    let Settings { namespace, name, .. } = settings;
    let free = Election::released(&lease.spec, timing::utc_to_the_microsecond(timing::now()));
    if client.write_lease(namespace, name, &free, Some(&lease.metadata)).await.is_ok() {
        info!(
            event = "lease-released",
            name, namespace, cause, "the Lease is free for another replica"
        );
    }
}

async fn hold(
    client: Arc<Client>,
    settings: Settings,
    mut election: Election,
    candidacy: watch::Receiver<Candidacy>,
    report: watch::Sender<LeaseState>,
) {
    let mut held: Option<Lease> = None;
    loop {
        let begun = Instant::now();
        let before = report.borrow().clone();
        let obstacle = candidacy.borrow().obstacle();
        if obstacle.is_some() && matches!(before, LeaseState::Writes(_)) {
            // Nothing is written from here on: another replica may take it as soon as it is free.
            report.send_replace(LeaseState::Resigned(String::new()));
        }
        let standing = match obstacle {
            Some(cause) => resign(&client, &settings, &mut election, &mut held, cause).await,
            None => step(&client, &settings, &mut election, &mut held).await,
        };
        let standing = match standing {
            Ok(standing) => standing,
            // A writer goes on until its time is over.
            Err(_) if obstacle.is_none() && before.is_writer(Instant::now()) => before.clone(),
            Err(error) => LeaseState::Fails(error),
        };
        tell(&settings, &election, &before, &standing);
        let until = match &standing {
            LeaseState::Writes(until) => Some(*until),
            _ => None,
        };
        report.send_replace(standing);
        let next = begun + election.every();
        if let Some(until) = until.filter(|until| *until <= next) {
            sleep_until(until).await;
            // Nothing was renewed in time.
            let over = LeaseState::Unknown;
            tell(&settings, &election, &report.borrow(), &over);
            report.send_replace(over);
        }
        sleep_until(next).await;
        // A server that answers late must not be asked without a pause.
        sleep(Duration::from_millis(100)).await;
    }
}

/// Gives the Lease up if this replica has it, and says who has it otherwise.
async fn resign(
    client: &Client,
    settings: &Settings,
    election: &mut Election,
    held: &mut Option<Lease>,
    cause: &str,
) -> Result<LeaseState, Error> {
    *held = None;
    election.lost();
    let Some(lease) = client.lease(&settings.namespace, &settings.name).await? else {
        return Ok(LeaseState::Resigned(String::new()));
    };
    let holder = lease.spec.holder_identity.clone().unwrap_or_default();
    // What is seen now counts later.
    if election.judge(Some(&lease.spec), Instant::now()) == Move::Renew {
        give_up(client, settings, &lease, cause).await;
        return Ok(LeaseState::Resigned(String::new()));
    }
    Ok(LeaseState::Resigned(holder))
}

/// Renews the Lease, takes it, or waits.
async fn step(
    client: &Client,
    settings: &Settings,
    election: &mut Election,
    held: &mut Option<Lease>,
) -> Result<LeaseState, Error> {
    let Settings { namespace, name, .. } = settings;
    let mut known = match held.take() {
        Some(known) => Some(known),
        None => client.lease(namespace, name).await?,
    };
    for _ in 0..ROUNDS {
        let now = Instant::now();
        let before = known.as_ref().map(|it| &it.spec);
        let next = election.judge(before, now);
        if next == Move::Wait {
            election.lost();
            let holder = before.and_then(|it| it.holder_identity.clone()).unwrap_or_default();
            return Ok(LeaseState::Waits(holder));
        }
        let spec = election.held(before, timing::utc_to_the_microsecond(timing::now()));
        let since = known.as_ref().map(|it| &it.metadata);
        match client.write_lease(namespace, name, &spec, since).await {
            Ok(lease) => {
                *held = Some(lease);
                let from = election.taken(next, now);
                return Ok(if from <= now {
                    LeaseState::Writes(now + election.writes())
                } else {
                    LeaseState::Waits(String::new())
                });
            }
            // Somebody has changed it, perhaps only a label; or an earlier answer was lost.
            Err(error) if error.status() == Some(409) => {
                known = client.lease(namespace, name).await?;
                // It was removed.
                if known.is_none() && next == Move::Renew {
                    break;
                }
            }
            // It was removed.
            Err(error) if error.status() == Some(404) && since.is_some() => break,
            Err(error) => return Err(error),
        }
    }
    election.lost();
    Ok(LeaseState::Waits(String::new()))
}

/// Logs that this replica begins to write, or has to stop.
fn tell(settings: &Settings, election: &Election, before: &LeaseState, now: &LeaseState) {
    let lease = kubernetes::shown(&settings.namespace, &settings.name);
    let cause = match (before, now) {
        (LeaseState::Writes(_), LeaseState::Writes(_)) => return debug!("the Lease is renewed"),
        (_, LeaseState::Writes(_)) => {
            info!(
                event = "lease-acquired",
                lease,
                identity = ascii(election.identity()),
                "this replica writes the Secrets"
            );
            return;
        }
        (LeaseState::Writes(_), LeaseState::Waits(holder)) if !holder.is_empty() => {
            format!("{} has it", ascii(holder))
        }
        (LeaseState::Writes(_), LeaseState::Waits(_)) => "somebody has removed it".to_owned(),
        (LeaseState::Writes(_), LeaseState::Fails(error)) => error.to_string(),
        (LeaseState::Writes(_), LeaseState::Unknown) => {
            "it could not be renewed in time".to_owned()
        }
        // Giving it up was logged.
        _ => return,
    };
    warn!(
        event = "lease-lost",
        lease,
        cause,
        "this replica no longer has the Lease, and writes no Secrets until it has it again"
    );
}
