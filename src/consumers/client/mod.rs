//! A client's own login: after each publication, and every few minutes, pgsvid logs in as the application would, with the
//! published set, and ends the session at once. It needs no reload, runs no query, and sends no password.
//!
//! So a renewal that would lock the application out is known at once, and not when the earlier certificate expires.

mod explain;
mod report;
mod settings;
mod walk;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub use settings::{ClientLogin, Dial, Host, TargetState};

use super::attempt::Attempt;
use super::delivery::Obstacle;
use super::trouble::Trouble;
use super::{Delivery, Publication};
use crate::diagnose;
use crate::finding::{Code, Finding};
use crate::login::{Login, Outcome, Session};
use crate::material::{Certificate, Material};
use crate::resolve::Resolver;
use crate::status::Pulse;
use crate::timing;
use crate::verify::{self, Answer, Client as Shown, Expected, Facts, Verdict};

/// The name of the session, by which administrators recognise it.
const APPLICATION: &str = "pgsvid client";
/// How long a new set's attempt waits for the proof that the servers of this configuration serve it.
const PROOF: Duration = Duration::from_secs(5);
/// The next login comes up to this part of the interval earlier, so that a fleet does not log in at once.
const JITTER: f64 = 0.2;
/// What is not proven if the server does not tell its state.
const UNTOLD: &str = "the server does not tell whether it is in the state of target_session_attrs (PostgreSQL before 14, PgBouncer)";

/// What is not proven if the certificate had no part in the login.
const UNASKED: &str = "the server asks for no certificate, and lets the client in without one: whether it would accept this one is not proven";
/// What is not proven if a pooler may have let the client in: PgBouncer does so without a connection to PostgreSQL, if it has had
/// one for this role and database.
const POOLED: &str = "the server is a pooler such as PgBouncer, which lets a client in without asking PostgreSQL: whether PostgreSQL serves this role is not proven";

/// What is not proven if pgsvid cannot log in.
const UNJUDGED: &str = "pgsvid cannot try a login as the client: `pgsvid check` says why";

pub(super) struct Client {
    settings: ClientLogin,
    /// Its name in the log, if there are several consumers.
    label: Option<String>,
    resolver: Resolver,
    /// The set that each server of this configuration is proven to serve.
    proven: watch::Receiver<Option<u64>>,
    /// What the last login has not proven, although nothing is wrong with it.
    unproven: Option<&'static str>,
    pulse: Pulse,
}

/// Who was let in.
pub(super) struct Admitted<'a> {
    role: &'a str,
    database: &'a str,
    unproven: Option<&'static str>,
}

/// Verdict, address and finding of one login, for the command `check`: it is ok if the client is let in. Then a sentence may say what
/// is not proven.
pub(crate) async fn try_once(
    settings: &ClientLogin,
    material: &Material,
) -> (Verdict, String, Finding, Option<&'static str>) {
    let authorities: Vec<Certificate> = material.authorities().cloned().collect();
    let (resolver, pulse) = (&mut Resolver::default(), Pulse::default());
    let tried = log_in(settings, material, &authorities, resolver, &pulse).await;
    let ok = || diagnose::of_client(Verdict::Admitted, &tried.address);
    let found = tried.finding.clone().unwrap_or_else(ok);
    (tried.verdict, tried.address, found, tried.unproven)
}

/// The result of one login.
struct Tried {
    address: String,
    verdict: Verdict,
    finding: Option<Finding>,
    /// What the login has not proven, although the client is let in.
    unproven: Option<&'static str>,
}

async fn log_in(
    settings: &ClientLogin,
    material: &Material,
    authorities: &[Certificate],
    resolver: &mut Resolver,
    pulse: &Pulse,
) -> Tried {
    let Some(client) = Shown::unchecked(material) else {
        let text = "pgsvid cannot try a login: it cannot sign with the published key, for example on the curve P-521";
        let found = Finding::failure(Code::SvidKeyUnsupported, text).fix("try the login with psql");
        let (address, verdict) = (String::new(), Verdict::Unverifiable);
        return Tried { address, verdict, finding: Some(found), unproven: Some(UNJUDGED) };
    };
    let login = Login {
        name: "",
        verify: settings.verify,
        negotiation: settings.negotiation,
        versions: settings.versions,
        role: &settings.role,
        database: &settings.database,
        replication: false,
        application_name: APPLICATION,
        parameters: &settings.parameters,
        authorities,
        client: Some(&client),
    };
    let end = walk::walk(settings, &login, resolver, pulse).await;
    drop(client);
    verify::wipe_stack();
    let (verdict, finding) = explain::explain(settings, &end, material);
    let unproven = match (&end.outcome, verdict) {
        (_, Verdict::Unverifiable) => Some(UNJUDGED),
        (Outcome::LoggedIn(Session { certificate_asked: false, .. }), Verdict::Admitted) => {
            Some(UNASKED)
        }
        (Outcome::LoggedIn(_), Verdict::Admitted) if end.is_met.is_none() => Some(UNTOLD),
        (Outcome::LoggedIn(Session { is_process: false, .. }), Verdict::Admitted) => Some(POOLED),
        _ => None,
    };
    Tried { address: end.address, verdict, finding, unproven }
}

impl Client {
    pub(super) fn new(settings: ClientLogin, label: Option<String>, pulse: Pulse) -> Self {
        let proven = watch::channel(None).1;
        let resolver = Resolver::default();
        Self { settings, label, resolver, proven, unproven: None, pulse }
    }

    /// Follows the set that each server of this configuration is proven to serve.
    pub(super) fn follow(&mut self, proven: watch::Receiver<Option<u64>>) {
        self.proven = proven;
    }

    /// A sentence that says what is not proven, although the client is let in.
    pub(super) fn unproven(&self) -> Option<&'static str> {
        self.unproven
    }

    /// The role and the database, and whether a refusal makes pgsvid not ready.
    pub(super) fn settings(&self) -> &ClientLogin {
        &self.settings
    }

    /// When the next login is due after one that nothing is wrong with: a random time before the interval has passed.
    pub(super) fn next(&self) -> Instant {
        Instant::now() + self.settings.every.mul_f64(1.0 - fastrand::f64() * JITTER)
    }

    /// Logs in, once. `is_new` means that the set was just published.
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
        if is_new && self.settings.follows_servers {
            self.pulse.step("waiting for the proof of the servers", PROOF);
            let proven = self.proven.wait_for(|proven| *proven == Some(*generation));
            // Without the proof, the login shows what the server does now.
            drop(timeout(PROOF, proven).await);
        }
        let begun = Instant::now();
        let tried = if material.not_after() <= timing::now() {
            // Each such login would only write a line into the server's log.
            let (address, verdict) = (String::new(), Verdict::Expired);
            Tried { address, verdict, finding: None, unproven: None }
        } else {
            let authorities: Vec<Certificate> =
                material.authorities().chain(extra_authorities).cloned().collect();
            let Self { settings, resolver, pulse, .. } = self;
            log_in(settings, material, &authorities, resolver, pulse).await
        };
        self.unproven = tried.unproven;
        Attempt {
            reload: None,
            reload_error: None,
            verify: begun.elapsed(),
            facts: Facts { address: tried.address, answer: Answer::Nothing(String::new()) },
            verdict: tried.verdict,
            leaf: material.leaf().fingerprint(),
            findings: Vec::from_iter(tried.finding),
            no_common_tls: None,
            unasked: None,
        }
    }

    /// Logs that the client is let in.
    pub(super) fn in_force(&self, attempt: &Attempt, publication: &Publication, routine: bool) {
        let label = self.label.as_deref();
        if attempt.verdict == Verdict::Admitted {
            let ClientLogin { role, database, .. } = &self.settings;
            let admitted = Admitted { role, database, unproven: self.unproven() };
            report::admitted(label, attempt, publication, &admitted, routine);
        } else {
            report::unjudged(label, attempt, publication.generation, routine);
        }
    }

    /// Why the client is not let in; `again` if the attempt before failed, too.
    pub(super) fn not_in_force(
        attempt: &Attempt,
        again: bool,
        why_not_newer: Finding,
    ) -> (Trouble, Obstacle) {
        let general = attempt.findings.first().cloned().unwrap_or_else(|| {
            let text = format!(
                "no server lets the client in, because the published certificate has expired: {}",
                why_not_newer.text
            );
            Finding { code: Code::VerdictExpired, text, ..why_not_newer }
        });
        Trouble::of(attempt, general, None, again)
    }
}
