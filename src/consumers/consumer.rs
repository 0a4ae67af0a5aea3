//! One consumer, of any kind: its attempts, their results, and when the next one is due.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::attempt::FollowUp;
use super::client::Client;
use super::kind::Kind;
use super::postgres::Postgres;
use super::problem::Problem;
use super::secrets::{self, Secrets};
use super::{Attempt, ClientLogin, Delivery, Proofs, Publication};
use crate::finding::{Finding, Severity};
use crate::sql::SessionCounts;
use crate::status::{self, Pulse, Replication};
use crate::timing;

/// How long after the published certificate has expired a consumer is checked: it may still serve that certificate.
const AFTER: Duration = Duration::from_millis(100);
/// How long a server that served the published set may take to be started again before it is checked.
const RESTART: Duration = Duration::from_secs(1);
/// How long after a check a consumer is checked again whose settings keep published files from being used: somebody may have
/// corrected them, and no event reports that.
const CONCERNED: Duration = Duration::from_secs(15);

pub(crate) struct Consumer {
    name: String,
    /// Its name in the log, if there are several.
    label: Option<String>,
    delivery: Delivery,
    kind: Kind,
    problem: Option<Problem>,
    /// Since when its problem has been one that goes away by waiting; `None` if it has no such problem.
    waits_since: Option<Instant>,
    pulse: Pulse,
}

/// The conclusion from an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Concluded {
    /// Whether the published set was in force before, and still is: then nobody is notified.
    pub(crate) routine: bool,
}

impl Consumer {
    /// `label` is its name in the log, if there are several.
    pub(super) fn new(
        name: String,
        label: Option<String>,
        delivery: Delivery,
        kind: Kind,
        pulse: Pulse,
    ) -> Self {
        Self { name, label, delivery, kind, problem: None, waits_since: None, pulse }
    }

    /// Its kind, as the status shows it.
    pub(crate) fn kind(&self) -> status::Kind {
        self.kind.for_status()
    }

    /// Its name, which no other consumer has.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When the next attempt is due; `None` before the first.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.delivery.next()
    }

    /// Whether the published set was in force at the last check, and nothing is left to do.
    pub(crate) fn is_settled(&self) -> bool {
        self.delivery.is_settled()
    }

    /// Whether a published set has not been followed by a reload yet.
    pub(crate) fn owes_reload(&self) -> bool {
        self.delivery.owes_reload()
    }

    /// A sentence that says what is not proven, although the consumer serves the right set.
    pub(crate) fn unproven(&self) -> Option<&'static str> {
        self.kind.unproven()
    }

    /// The settings that keep published files from being used, even if it serves the right certificate.
    pub(crate) fn concerns(&self) -> &[Finding] {
        self.kind.concerns()
    }

    /// Whether one of them keeps it from serving the next set, and may be corrected at any time.
    fn has_serious_concerns(&self) -> bool {
        let is_server = matches!(self.kind, Kind::Postgres(_) | Kind::Pgbouncer(_));
        is_server && self.concerns().iter().any(|it| it.severity == Severity::Failure)
    }

    /// Whether it opens the source's own files at each connection that it makes, so that they fail while these are no set.
    pub(crate) fn opens_in_place(&self) -> bool {
        matches!(&self.kind, Kind::Pgbouncer(pgbouncer) if pgbouncer.opens_in_place())
    }

    /// The sessions on it at the last count.
    pub(crate) fn sessions(&self) -> Option<&(SystemTime, SessionCounts)> {
        self.kind.postgres()?.sessions()
    }

    /// Its replication connections, as they were last seen.
    pub(crate) fn replication(&self) -> Option<&Replication> {
        self.kind.postgres()?.replication()
    }

    /// The longest life of a client's certificate, and how many sessions that had outlived theirs were ended.
    pub(crate) fn outlived(&self) -> (Duration, u64) {
        self.kind.postgres().map(Postgres::outlived).unwrap_or_default()
    }

    /// What its role lacks to see, or to end, the sessions of others.
    pub(crate) fn session_rights(&self) -> Option<&Finding> {
        self.kind.postgres()?.session_rights()
    }

    /// What keeps the published set from being in force.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Follows what is proven of the consumers that come before it.
    pub(crate) fn follow(&mut self, proofs: &Proofs) {
        match &mut self.kind {
            Kind::Patroni(patroni) => patroni.follow(proofs.postgres.clone()),
            Kind::Pgbouncer(pgbouncer) => pgbouncer.follow(proofs.postgres.clone()),
            Kind::Client(client) => client.follow(proofs.servers.clone()),
            Kind::Served(served) => served.follow(proofs.handed_over.clone()),
            _ => {}
        }
    }

    /// How long the next set waits for an attempt, if that is another time than usual.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Patroni(patroni) => Some(patroni.patience()),
            // They read no files, so they delay no set.
            Kind::Client(_) | Kind::Served(_) => Some(Duration::ZERO),
            Kind::Secrets(_) => Some(secrets::PATIENCE),
            _ => None,
        }
    }

    /// Servers are proven to serve the published set: if this is a consumer of the kind that waits for them, an attempt that
    /// has failed is repeated at once.
    pub(crate) fn proof_has_come(&mut self, to: status::Kind) {
        if self.kind() == to && self.delivery.is_trying() {
            self.delivery.hurry(Instant::now());
        }
    }

    /// Another replica hands sets over now, or this one again: what instances serve is judged otherwise from now on.
    pub(crate) fn writer_has_changed(&mut self) {
        if matches!(self.kind, Kind::Served(_)) && self.delivery.next().is_some() {
            self.delivery.hurry(Instant::now());
        }
    }

    /// As which role, and in which database, it logs in; `None` if it is a server.
    pub(crate) fn login(&self) -> Option<&ClientLogin> {
        match &self.kind {
            Kind::Client(client) => Some(client.settings()),
            _ => None,
        }
    }

    /// Each Kubernetes Secret, as it was last seen; none if it writes no Secrets.
    pub(crate) fn states(&self) -> &[status::Secret] {
        match &self.kind {
            Kind::Secrets(secrets) => secrets.states(),
            _ => &[],
        }
    }

    /// What is known of its instances; `None` if it is no name of instances.
    pub(crate) fn instances(&self) -> Option<status::Instances> {
        match &self.kind {
            Kind::Served(served) => Some(served.status()),
            _ => None,
        }
    }

    /// Gives up what other processes wait for, before this one ends.
    pub(crate) async fn leave(&self) {
        if let Kind::Secrets(secrets) = &self.kind {
            secrets.leave().await;
        }
    }

    /// Prepares for a set that is being published. Only PostgreSQL's session is worth it: PgBouncer's console answers within
    /// milliseconds, and Patroni comes after PostgreSQL.
    pub(crate) fn prepare(&mut self) {
        if let Kind::Postgres(postgres) = &mut self.kind {
            postgres.prepare();
        }
    }

    /// Cancels the preparation, because the set could not be published.
    pub(crate) fn give_up(&mut self) {
        if let Kind::Postgres(postgres) = &mut self.kind {
            postgres.give_up();
        }
    }

    /// Announces that no step is running for it, so that no deadline can be missed.
    pub(crate) fn rest(&self) {
        self.pulse.rest(None);
    }

    /// Records that it may have read something else than the published set: from now on only pgsvid's own reload is proof.
    pub(crate) fn distrust(&mut self) {
        self.delivery.distrust();
    }

    /// Makes another attempt due at once, because the last one was interrupted.
    pub(crate) fn interrupted(&mut self) {
        self.delivery.hurry(Instant::now());
    }

    /// Ends when an attempt failed, and something has changed in the directories of the consumer's files since; after a success,
    /// when the server was started again, or stopped. Safe to cancel.
    pub(crate) async fn worth_another_try(&mut self) {
        // Others may change Secrets at any time, also after a success.
        let is_watched = matches!(self.kind, Kind::Secrets(_)) && self.delivery.next().is_some();
        let is_at_rest = !self.delivery.is_trying() && !is_watched;
        if self.delivery.next().is_none() {
            return std::future::pending().await;
        }
        let look = loop {
            if let Some(moment) = self.delivery.after_change() {
                break moment;
            }
            self.kind.changed().await;
            // Other servers may have their sockets in that directory, too.
            if is_at_rest && !self.kind.is_another() {
                continue;
            }
            self.delivery.note_change(Instant::now());
        };
        // Wait a moment: a server binds its socket before it answers, and one that is started again removes the old one first.
        sleep_until(if is_at_rest { look + RESTART } else { look }).await;
    }

    /// Reloads, if necessary or useful, and verifies. `is_new` means that the set was just published.
    pub(crate) async fn attempt(&mut self, publication: &Publication, is_new: bool) -> Attempt {
        self.kind.attempt(&mut self.delivery, publication, is_new).await
    }

    /// Draws the conclusions from an attempt, and logs them: whether the set is in force, and when to check or retry. `took`
    /// is the duration of the publication, if it is new; `why_not_newer` is the reason why no newer set is published, and its
    /// remedy.
    pub(crate) fn conclude(
        &mut self,
        attempt: &Attempt,
        publication: &Publication,
        took: Option<Duration>,
        why_not_newer: Finding,
    ) -> Concluded {
        let shown = attempt.shown();
        if self.delivery.is_done(shown) && !attempt.is_hindered() {
            let routine = self.delivery.settle(shown, self.kind.is_known(), Instant::now());
            self.delivery.look_by(expires(publication));
            if self.has_serious_concerns() {
                self.delivery.look_by(Some(Instant::now() + CONCERNED));
            }
            self.problem = None;
            self.waits_since = None;
            match &mut self.kind {
                Kind::Postgres(postgres) => {
                    postgres.in_force(attempt, &self.delivery, publication, took, routine);
                }
                Kind::Pgbouncer(pgbouncer) => {
                    pgbouncer.in_force(attempt, &self.delivery, publication, took, routine);
                }
                Kind::Patroni(patroni) => patroni.in_force(attempt, publication, took, routine),
                Kind::Client(client) => {
                    self.delivery.look_by(Some(client.next()));
                    client.in_force(attempt, publication, routine);
                }
                Kind::Secrets(secrets) => {
                    self.delivery.look_by(Some(secrets.next()));
                    secrets.in_force(attempt, publication, took, routine);
                }
                Kind::Served(served) => served.in_force(publication, routine),
                #[cfg(test)]
                Kind::Fake(_) => {}
            }
            return Concluded { routine };
        }
        let again = self.delivery.is_trying();
        let (trouble, obstacle) = match &mut self.kind {
            Kind::Postgres(postgres) => postgres.not_in_force(attempt, again, why_not_newer),
            Kind::Pgbouncer(pgbouncer) => pgbouncer.not_in_force(attempt, again, why_not_newer),
            Kind::Patroni(patroni) => patroni.not_in_force(attempt, again, why_not_newer),
            Kind::Client(_) => Client::not_in_force(attempt, again, why_not_newer),
            Kind::Secrets(_) => Secrets::not_in_force(attempt, why_not_newer),
            Kind::Served(served) => served.not_in_force(attempt, &why_not_newer),
            #[cfg(test)]
            Kind::Fake(_) => super::fake::trouble(attempt),
        };
        let (trouble, obstacle) = if trouble.is_reload_pending() {
            let since = *self.waits_since.get_or_insert_with(Instant::now);
            trouble.grow(obstacle, since.elapsed(), publication.life())
        } else {
            self.waits_since = None;
            (trouble, obstacle)
        };
        let (delay, told) = self.delivery.retry(attempt.verdict, obstacle, Instant::now());
        trouble.say(self.label.as_deref(), publication.generation, delay, told);
        self.problem = Some(trouble.problem);
        Concluded { routine: false }
    }

    /// Asks what an attempt has left to ask: what has changed at a PostgreSQL, or what a PgBouncer shows to PostgreSQL.
    pub(crate) async fn ask(&mut self, unasked: FollowUp) {
        match (&mut self.kind, unasked) {
            (Kind::Postgres(postgres), FollowUp::Session(session)) => {
                postgres.ask(&mut self.delivery, *session).await;
            }
            (Kind::Pgbouncer(pgbouncer), FollowUp::Login(publication)) => {
                let next = pgbouncer.log_in(&publication).await;
                self.delivery.look_by(next);
            }
            // The others leave nothing to ask.
            _ => {}
        }
    }

    /// What a PgBouncer shows to PostgreSQL; `None` for the other kinds.
    pub(crate) fn server_side(&self) -> Option<status::ServerSide> {
        match &self.kind {
            Kind::Pgbouncer(pgbouncer) => Some(pgbouncer.server_side()),
            _ => None,
        }
    }
}

/// When the published certificate will have just expired: a server that serves it must be checked then, because no event
/// reports that. `None` if it has expired already.
fn expires(publication: &Publication) -> Option<Instant> {
    let left = publication.material.not_after().duration_since(timing::now()).ok()?;
    Instant::now().checked_add(left + AFTER)
}
