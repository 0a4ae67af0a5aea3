//! Patroni's REST API: one attempt to make it serve the published set, and its consequences.
//!
//! A reload of Patroni while a set that does not fit together is on disk ends its REST API, and the reload after that hangs it: a
//! replica is promoted while the old primary goes on writing. So Patroni comes last. It is asked over its REST API, which a dead
//! one cannot hear, only after each PostgreSQL is proven to serve the set, and only if it has something to read: it compares serial
//! numbers and paths. Then handshakes show when it has loaded the set, and the next set waits for that.

mod explain;
mod report;
mod rest_api;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

pub use rest_api::RestApi;

use super::attempt::{Attempt, ReloadError};
use super::delivery::Obstacle;
use super::leaves::Leaves;
use super::trouble::Trouble;
use super::{Delivery, Publication};
use crate::finding::Finding;
use crate::material::{Certificate, Fingerprint, Material};
use crate::patroni::{self, Error};
use crate::status::Pulse;
use crate::timing;
use crate::verify::{
    self, Answer, Client, Expected, Facts, Reception, Served, Unanswered, Verdict,
};

/// How long a new set's attempt waits for the proof that PostgreSQL serves it. The proof usually takes milliseconds; later ones
/// begin another attempt.
const PROOF: Duration = Duration::from_secs(5);
/// The pause between two handshakes until Patroni has loaded the set.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the steps of an attempt take at most, beside Patroni's loop.
const REST: Duration = Duration::from_secs(10);

/// A certificate of the REST API, and the authorities that were published when it was loaded.
type Loaded = (Fingerprint, HashSet<Fingerprint>);

/// The authorities of a set.
fn authorities(publication: &Publication) -> HashSet<Fingerprint> {
    let Publication { material, extra_authorities, .. } = publication;
    material.authorities().chain(extra_authorities).map(Certificate::fingerprint).collect()
}

pub(super) struct Patroni {
    api: RestApi,
    /// Its name in the log, if there are several consumers.
    label: Option<String>,
    /// The set that each PostgreSQL is proven to serve.
    proven: watch::Receiver<Option<u64>>,
    leaves: Leaves,
    /// The last set that it was seen to serve. It accepts this certificate from a client, even if the next one is of an authority
    /// that it has not loaded yet.
    accepted: Option<Arc<Material>>,
    loaded: Option<Loaded>,
    /// The published leaf, and the authorities that were published when Patroni could read it first.
    first: Option<Loaded>,
    /// The published leaf for which it has accepted a request to reload.
    asked: Option<Fingerprint>,
    /// The set for whose authorities it has accepted a request to reload.
    asked_again: Option<u64>,
    /// Whether the attempt before found nobody who listens.
    was_absent: bool,
    /// Whether the attempt before found a listener that answers nothing.
    was_silent: bool,
    concerns: Vec<Finding>,
    pulse: Pulse,
}

impl Patroni {
    pub(super) fn new(api: RestApi, label: Option<String>, pulse: Pulse) -> Self {
        Self {
            api,
            label,
            proven: watch::channel(None).1,
            leaves: Leaves::default(),
            accepted: None,
            loaded: None,
            first: None,
            asked: None,
            asked_again: None,
            was_absent: false,
            was_silent: false,
            concerns: Vec::new(),
            pulse,
        }
    }

    /// Follows the set that each PostgreSQL is proven to serve.
    pub(super) fn follow(&mut self, proven: watch::Receiver<Option<u64>>) {
        self.proven = proven;
    }

    /// How long the next set waits for an attempt.
    pub(super) fn patience(&self) -> Duration {
        self.api.loads_within + REST
    }

    /// Authorities that it has not loaded.
    pub(super) fn concerns(&self) -> &[Finding] {
        &self.concerns
    }

    /// Reloads, if that is necessary and safe, and verifies. `is_new` means that the set was just published.
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        let Publication { material, extra_authorities, generation } = publication;
        let leaf = material.leaf().fingerprint();
        self.leaves.publish(leaf);
        if self.first.as_ref().is_none_or(|(first, _)| *first != leaf) {
            self.first = Some((leaf, authorities(publication)));
        }
        let expected = Expected::of(material, extra_authorities, self.leaves.earlier());
        delivery.begin(&super::features(&expected), is_new);
        if is_new {
            self.pulse.step("waiting for PostgreSQL's proof", PROOF);
            let proven = self.proven.wait_for(|proven| *proven == Some(*generation));
            // Without the proof, the attempt says so.
            drop(timeout(PROOF, proven).await);
        }

        let begun = Instant::now();
        let (mut facts, mut verdict) = self.look(&expected, material).await;
        let asked = self.ask(delivery, publication, &expected, (&facts, verdict)).await;
        let mut reload = None;
        if matches!(asked, Ok(true)) {
            self.asked = Some(leaf);
            self.asked_again = Some(*generation);
            report::reloads(self.label.as_deref(), *generation);
            (facts, verdict) = self.until_loaded(&expected, material).await;
            reload = Some(begun.elapsed());
        }
        let verified = Instant::now();
        let mut error = asked.err();
        if verdict == Verdict::Unreachable && matches!(facts.answer, Answer::Nothing(_)) {
            error = Some(self.why_nothing().await);
        }
        let is_silent = matches!(error, Some(Error::Silent));
        if is_silent && !self.was_silent {
            // It may only be slow at this moment, and the remedy ends Patroni.
            error = Some(Error::Lost(Unanswered::Late));
        }
        self.was_silent = is_silent;
        let is_absent = matches!(error, Some(Error::NotRunning));
        if is_absent && self.was_absent {
            // It reads what is published by now when it starts.
            (self.loaded, self.first) = (None, Some((leaf, authorities(publication))));
        }
        self.was_absent = is_absent;
        self.take_note(&facts, publication);
        Attempt {
            reload,
            reload_error: error.map(ReloadError::Patroni),
            verify: if reload.is_some() { verified.elapsed() } else { begun.elapsed() },
            facts,
            verdict,
            leaf,
            findings: Vec::new(),
            no_common_tls: None,
            unasked: None,
        }
    }

    /// Asks Patroni to reload, unless that would change nothing or could do harm. Returns whether it has accepted.
    async fn ask(
        &self,
        delivery: &mut Delivery,
        publication: &Publication,
        expected: &Expected,
        (facts, verdict): (&Facts, Verdict),
    ) -> Result<bool, Error> {
        let Answer::Served(served) = &facts.answer else { return Ok(false) };
        // Patroni reads its files if the serial number or a path is another one. Without a part of its configuration in each set
        // the paths are always the same.
        let is_same = served.leaf.serial() == publication.material.leaf().serial();
        let is_behind = verdict == Verdict::StillOld || self.is_pending(publication);
        let was_asked = self.asked_again == Some(publication.generation);
        let is_loaded = is_same && (self.api.part.is_none() || was_asked || !is_behind);
        // The files of others may not fit together.
        if is_loaded || !expected.is_ours(&served.leaf) {
            return Ok(false);
        }
        if *self.proven.borrow() != Some(publication.generation) {
            return Err(Error::NotProven);
        }
        if !delivery.should_reload(false, Instant::now()) {
            return Ok(false);
        }
        self.pulse.step("asking Patroni", verify::LIMIT + REST);
        // It may not have the authority of the new certificate yet.
        let refused = matches!(served.reception, Reception::Refused(_));
        let shown = match &self.accepted {
            Some(accepted) if refused => accepted,
            // It would refuse the request, too.
            None if refused => return Err(Error::Refused),
            _ => &publication.material,
        };
        let client = Client::of(shown, timing::now());
        if refused && client.is_none() {
            return Err(Error::Refused);
        }
        let credentials = self.api.credentials.as_ref();
        let is_trusted = |served: &Served| self.is_trusted(served, publication, expected);
        let (mut hosts, port) = self.api.place();
        // Another user's program may listen at another address of the same name.
        hosts.retain(|host| verify::shown_address(host, port) == facts.address);
        let asked = patroni::reload((&hosts, port), client.as_ref(), credentials, is_trusted).await;
        drop(client);
        verify::wipe_stack();
        asked?;
        delivery.reloaded(Instant::now());
        Ok(true)
    }

    /// Whether a server may be sent the password: it has an earlier certificate of pgsvid's, or an own one.
    fn is_trusted(&self, served: &Served, publication: &Publication, expected: &Expected) -> bool {
        let material = &publication.material;
        if self.api.credentials.is_none()
            || self.leaves.earlier().contains(&served.leaf.fingerprint())
        {
            return expected.is_ours(&served.leaf);
        }
        RestApi::is_own(served, material)
    }

    /// Looks again and again until Patroni has loaded the set, or its time is over.
    async fn until_loaded(&self, expected: &Expected, material: &Material) -> (Facts, Verdict) {
        let deadline = Instant::now() + self.api.loads_within;
        loop {
            sleep(PAUSE).await;
            let (facts, verdict) = self.look(expected, material).await;
            let is_loaded = matches!(verdict, Verdict::Current | Verdict::OldAuthorities);
            if is_loaded || Instant::now() >= deadline {
                return (facts, verdict);
            }
        }
    }

    /// What it serves, and the verdict.
    async fn look(&self, expected: &Expected, material: &Material) -> (Facts, Verdict) {
        self.pulse.step("verifying what Patroni serves", verify::LONGEST + PAUSE);
        let (hosts, port) = self.api.place();
        let client = Client::of(material, timing::now());
        let facts = self.api.verify.probe(&hosts, port, client.as_ref()).await;
        if client.is_some() {
            drop(client);
            verify::wipe_stack();
        }
        let verdict = patroni::judge(&facts, expected, timing::now());
        (facts, verdict)
    }

    /// Why it does not answer: nobody listens, or the REST API has ended, which leaves its socket open.
    async fn why_nothing(&self) -> Error {
        self.pulse.step("looking whether Patroni listens", REST);
        let (hosts, port) = self.api.place();
        patroni::why_unanswered((&hosts, port)).await
    }

    /// Records what it has loaded, and whether authorities were published since.
    fn take_note(&mut self, facts: &Facts, publication: &Publication) {
        let Publication { material, generation, .. } = publication;
        let leaf = material.leaf().fingerprint();
        let Answer::Served(served) = &facts.answer else { return };
        if served.leaf.fingerprint() != leaf {
            return;
        }
        if !matches!(served.reception, Reception::Refused(_)) {
            self.accepted = Some(Arc::clone(material));
        }
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != leaf) {
            // It may have read the leaf before other authorities were published with it.
            self.loaded.clone_from(&self.first);
        }
        let asked = self.api.part.as_ref().map(|_| self.asked_again == Some(*generation));
        let pending = || patroni::authorities_pending(&facts.address, asked);
        let concerns = Vec::from_iter(self.is_pending(publication).then(pending));
        if concerns != self.concerns {
            for found in &concerns {
                report::pending(self.label.as_deref(), *generation, found);
            }
            self.concerns = concerns;
        }
    }

    /// Whether it has the published leaf, and may have other authorities.
    fn is_pending(&self, publication: &Publication) -> bool {
        let leaf = publication.material.leaf().fingerprint();
        self.loaded
            .as_ref()
            .is_some_and(|(loaded, with)| *loaded == leaf && *with != authorities(publication))
    }

    /// Logs that the published set is in force, as [`super::postgres::Postgres`] does.
    pub(super) fn in_force(
        &self,
        attempt: &Attempt,
        publication: &Publication,
        took: Option<Duration>,
        routine: bool,
    ) {
        let Publication { material, generation, .. } = publication;
        let label = self.label.as_deref();
        super::report::rotated(label, attempt, material, *generation, took, routine);
    }

    /// Why the published set is not in force; `again` if the attempt before failed, too.
    pub(super) fn not_in_force(
        &self,
        attempt: &Attempt,
        again: bool,
        why_not_newer: Finding,
    ) -> (Trouble, Obstacle) {
        let asked = self.asked == Some(attempt.leaf);
        explain::trouble(attempt, asked, again, why_not_newer, timing::now())
    }
}
