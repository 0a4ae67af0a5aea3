//! Kubernetes Secrets: the published set is written to fields of them, by server-side apply.
//!
//! An attempt reads each Secret, judges what differs, and writes that. The answer of the API server is the read-back. A watch for
//! each Secret causes another attempt when somebody changes or deletes one. With a Lease, only its holder writes.

mod contest;
mod election;
mod examine;
mod explain;
mod follow;
mod judge;
mod kept;
mod order;
mod read;
mod report;
mod rights;
mod settings;
mod standby;
mod turn;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(crate) use examine::examine;
pub use settings::{Field, Lease, Secrets as Settings, Target};

use super::attempt::Attempt;
use super::delivery::Obstacle;
use super::trouble::Trouble;
use super::{Delivery, Publication};
use crate::finding::{Code, Finding, Severity};
use crate::kubernetes::{Client, Error};
use crate::material::Certificate;
use crate::publish::Fields;
use crate::status::{self, Pulse};
use crate::timing;
use crate::verify::{Answer, Expected, Facts, Verdict};
use contest::Contest;
use follow::Following;
use turn::{Candidacy, LeaseState, LeaseTask};
use write::Stop;

/// How long the next set waits for an attempt: two Secrets that belong together get the same set.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How many Secrets are watched over one connection.
const WATCHES: usize = 50;
/// How long the first attempt waits for what the Lease says.
const FIRST: Duration = Duration::from_secs(5);
/// A replica competes for the Lease while its set has more than this part of its life left, in tenths. SPIRE renews at a half of the
/// life, cert-manager at a third.
const FRESH: u32 = 3;
/// The next look comes up to this part of the interval earlier, so that replicas do not look at once.
const JITTER: f64 = 0.2;

pub(super) struct Secrets {
    settings: Settings,
    /// Its name in the log, if there are several consumers.
    label: Option<String>,
    /// Reads and writes Secrets. Its connection is closed after each attempt, because its buffers have held the key.
    client: Arc<Client>,
    /// Watch metadata, each of so many Secrets: an API server admits about a hundred requests at a time on one connection.
    observers: Vec<Arc<Client>>,
    /// Asks about the Lease: watches must not delay it.
    elector: Arc<Client>,
    following: Following,
    turn: Option<LeaseTask>,
    candidacy: watch::Sender<Candidacy>,
    /// Since when this replica has the Lease and can write no Secret, and why.
    failing: Option<(Instant, Vec<Finding>)>,
    /// The encoder of each Secret's fields.
    fields: Vec<Fields>,
    states: Vec<status::Secret>,
    contests: Vec<Contest>,
    said_contested: Vec<bool>,
    /// Whether it was said that the Secret is not watched.
    said_unwatched: Vec<bool>,
    /// Whether this process has seen the Secret.
    existed: Vec<bool>,
    concerns: Vec<Finding>,
    /// The authorities of the set that was last handed over.
    before: Vec<Certificate>,
    /// The generation that each Secret has held since this replica writes: if it differs from that, somebody else has changed it.
    held: Vec<Option<u64>>,
    /// The generation of this attempt.
    generation: u64,
    pulse: Pulse,
}

impl Secrets {
    pub(super) fn new(settings: Settings, label: Option<String>, pulse: Pulse) -> Self {
        let new_client = || Arc::new(Client::new(settings.kubernetes.clone()));
        let (client, elector) = (new_client(), new_client());
        let count = settings.targets.len();
        let observers = (0..count.div_ceil(WATCHES)).map(|_| new_client()).collect();
        let state = |target: &Target| status::Secret {
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            ..status::Secret::default()
        };
        Self {
            following: Following::new(count),
            turn: None,
            candidacy: watch::Sender::new(Candidacy::default()),
            failing: None,
            fields: (0..count).map(|_| Fields::default()).collect(),
            states: settings.targets.iter().map(state).collect(),
            contests: (0..count).map(|_| Contest::default()).collect(),
            said_contested: vec![false; count],
            said_unwatched: vec![false; count],
            existed: vec![false; count],
            concerns: Vec::new(),
            before: Vec::new(),
            held: vec![None; count],
            generation: 0,
            settings,
            label,
            client,
            observers,
            elector,
            pulse,
        }
    }

    /// Each Secret, as it was last seen.
    pub(super) fn states(&self) -> &[status::Secret] {
        &self.states
    }

    /// The Secrets that somebody changes again and again.
    pub(super) fn concerns(&self) -> &[Finding] {
        &self.concerns
    }

    /// When the Secrets are read again if nothing happens: a random time before the interval has passed, or soon if one is not
    /// watched.
    pub(super) fn next(&self) -> Instant {
        if let Some(soon) = self.following.blind() {
            return Instant::now() + soon;
        }
        Instant::now() + self.settings.every.mul_f64(1.0 - fastrand::f64() * JITTER)
    }

    /// Ends when a Secret was changed by somebody else, or when it is another replica's turn. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        let now = Instant::now();
        let turn = async {
            match &mut self.turn {
                Some(turn) => turn.changed().await,
                None => std::future::pending().await,
            }
        };
        let (following, contests) = (&mut self.following, &self.contests);
        let states = &self.states;
        // A Secret that has to wait keeps no other one waiting. That it does not hold the set is noted at once.
        let earliest = |at: &usize| {
            if states[*at].holds { now } else { contests[*at].not_before(now) }
        };
        let secrets = async {
            loop {
                let news = following.changed().await;
                let Some(earliest) = news.iter().map(earliest).min() else {
                    continue;
                };
                tokio::select! {
                    () = sleep_until(earliest) => return,
                    () = following.reported() => {}
                }
            }
        };
        tokio::select! {
            () = turn => {}
            () = secrets => {}
        }
    }

    /// Gives up what other replicas wait for, before this process ends.
    pub(super) async fn leave(&self) {
        if let Some(turn) = &self.turn {
            turn.release().await;
        }
    }

    /// Reads the Secrets, and writes what differs. `is_new` means that the set was just published.
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        let Publication { material, extra_authorities, generation } = publication;
        let expected = Expected::of(material, extra_authorities, Vec::new());
        delivery.begin(&super::features(&expected), is_new);
        // There is nothing to reload.
        delivery.reloaded(Instant::now());
        let begun = Instant::now();
        self.following.begin();
        self.generation = *generation;
        let now = Instant::now();
        let contests = &self.contests;
        let shown = |found: &Finding| {
            self.settings.targets.iter().zip(contests).any(|(target, contest)| {
                found.code == Code::SecretContested
                    && found.object.as_deref() == Some(&target.shown())
                    && contest.is_contested(now)
            })
        };
        self.concerns.retain(shown);
        let late = publication.life() * FRESH / 10;
        let fresh_until = material.not_after().checked_sub(late);
        self.candidacy.send_modify(|candidacy| candidacy.fresh_until = fresh_until);
        let (verdict, holder, findings) = if material.not_after() <= timing::now() {
            self.held.fill(None);
            self.states.iter_mut().for_each(|state| state.holds = false);
            (Verdict::Expired, None, Vec::new())
        } else {
            self.hand_over(publication).await
        };
        self.note_failing(verdict, &findings);
        if matches!(verdict, Verdict::HandedOver | Verdict::Standby) {
            self.note_unwatched().await;
        }
        self.client.close().await;
        let address = holder.unwrap_or_else(|| self.settings.kubernetes.server.to_string());
        Attempt {
            reload: None,
            reload_error: None,
            verify: begun.elapsed(),
            facts: Facts { address, answer: Answer::Nothing(String::new()) },
            verdict,
            leaf: material.leaf().fingerprint(),
            findings,
            no_common_tls: None,
            unasked: None,
        }
    }

    /// The verdict, the replica that writes if that is another one, and what is wrong.
    async fn hand_over(
        &mut self,
        publication: &Publication,
    ) -> (Verdict, Option<String>, Vec<Finding>) {
        if let Some(lease) = &self.settings.lease {
            self.pulse.step("waiting for the Lease", FIRST * 2);
            let candidacy = &self.candidacy;
            let begin = || LeaseTask::begin(&self.elector, lease, candidacy.subscribe());
            let standing = self.turn.get_or_insert_with(begin).standing(FIRST).await;
            let error = match standing {
                LeaseState::Writes(_) => None,
                LeaseState::Waits(holder) | LeaseState::Resigned(holder) => {
                    self.held.fill(None);
                    return self.standby(holder, publication).await;
                }
                LeaseState::Unknown => Some(Error::Late(FIRST)),
                LeaseState::Fails(error) => Some(error),
            };
            if let Some(error) = error {
                self.held.fill(None);
                self.pulse.step("explaining what the Lease needs", write::LIMIT);
                let found = rights::lease_failed(&self.client, &self.settings, &error).await;
                return (verdict_of_connection(&found), None, vec![found]);
            }
        }
        let stop = match self.write(publication).await {
            Ok(found) if found.is_empty() => return (Verdict::HandedOver, None, found),
            Ok(found) => return (verdict(&found), None, found),
            Err(stop) => stop,
        };
        // Another replica may write meanwhile.
        self.held.fill(None);
        match stop {
            Stop::Asking(found) => (verdict_of_connection(&found), None, vec![found]),
            Stop::LeaseTask => self.standby(String::new(), publication).await,
        }
    }

    /// Logs that each Secret holds the set.
    pub(super) fn in_force(
        &self,
        attempt: &Attempt,
        publication: &Publication,
        took: Option<Duration>,
        routine: bool,
    ) {
        let label = self.label.as_deref();
        report::handed_over(label, attempt, publication, &self.settings.targets, took, routine);
    }

    /// Why not every Secret holds the set.
    pub(super) fn not_in_force(attempt: &Attempt, why_not_newer: Finding) -> (Trouble, Obstacle) {
        explain::trouble(attempt, why_not_newer)
    }
}

/// The verdict if something is wrong with Secrets.
fn verdict(found: &[Finding]) -> Verdict {
    if found.iter().any(|it| it.severity == Severity::Failure) {
        Verdict::Refused
    } else {
        Verdict::Unavailable
    }
}

/// The verdict if the API server cannot be asked.
fn verdict_of_connection(found: &Finding) -> Verdict {
    if found.severity == Severity::Failure { Verdict::Refused } else { Verdict::Unreachable }
}
