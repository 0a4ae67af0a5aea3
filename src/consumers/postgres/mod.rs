//! A PostgreSQL: one attempt to make it serve the published set, and its consequences.

mod ask;
mod claims;
mod conclude;
mod explain;
mod login;
mod look;
mod replication;
mod report;
mod server;
mod sessions;

use std::time::SystemTime;

use tokio::time::Instant;

pub use claims::Claims;
use login::EarlyLogin;
pub use server::Server;
pub use sessions::SessionSettings;

use super::attempt::{Attempt, FollowUp, ReloadError, ReloadSession};
use super::features;
use super::leaves::Leaves;
use super::socket::Socket;
use crate::consumers::{Delivery, Publication};
use crate::finding::{Finding, Severity};
use crate::material::Fingerprint;
use crate::sql::{OtherSettings, SessionCounts, TlsSettings};
use crate::status::{Pulse, Replication};
use crate::survey::{self, Files};
use crate::timing;
use crate::verify::{self, Client, ClientSettings, Expected, Facts, Proof, Reception, Verdict};
use crate::watching::{Changes, Watching};

/// The announced step while an SQL session is open.
const ASKING: &str = "asking PostgreSQL";

pub(super) struct Postgres {
    server: Server,
    /// Its name in the log, if there are several.
    label: Option<String>,
    /// The last known settings; they contain the address to probe while SQL is unavailable.
    known: Option<TlsSettings>,
    /// Its files and settings when it was last asked to reload, if known.
    seen: Option<Seen>,
    /// A session that is being opened for the coming reload.
    login: Option<EarlyLogin>,
    changes: Changes,
    socket: Socket,
    leaves: Leaves,
    /// The leaf that the server refuses as a client's certificate: it is not presented again.
    refused_leaf: Option<Fingerprint>,
    concerns: Vec<Finding>,
    file_errors: Vec<String>,
    /// The number of sessions at the last reload at which the role could see them.
    sessions: Option<(SystemTime, SessionCounts)>,
    /// The replication connections, as the role last saw them.
    replication: Option<Replication>,
    outliving: sessions::Outliving,
    /// How much of the authorities was proven when the set was last in force.
    proof: Option<Proof>,
    /// When pgsvid started to check: the server cannot have read a leaf before that which was issued later.
    started: SystemTime,
    /// The last handshake in which the server showed a certificate or answered in plaintext.
    shaken: Option<HandshakeResult>,
    /// What prevents a handshake, as last reported.
    no_common_tls: Option<Finding>,
    /// Whether the set only seems to be in force: before this process started, the server may have read another set that looks
    /// the same.
    unasked: bool,
    pulse: Pulse,
}

/// The server's files and settings at one moment.
type Seen = (Files, TlsSettings);

/// A handshake in which the server showed a certificate or answered in plaintext.
struct HandshakeResult {
    /// The server's further TLS settings at that time, if they were known.
    settings: Option<OtherSettings>,
    /// Whether the handshake showed that the set is in force.
    in_force: bool,
}

/// The result of a session.
#[derive(Default)]
struct Reload {
    signalled: bool,
    /// The session, if it is still open, to query what has changed.
    unasked: Option<ReloadSession>,
}

impl Postgres {
    pub(super) fn new(
        server: Server,
        label: Option<String>,
        watching: &Watching,
        pulse: Pulse,
    ) -> Self {
        let changes = watching.directories(server.watched());
        let socket = Socket::new(server.session.socket());
        Self {
            known: None,
            seen: None,
            login: None,
            changes,
            socket,
            leaves: Leaves::default(),
            refused_leaf: None,
            concerns: Vec::new(),
            file_errors: Vec::new(),
            sessions: None,
            replication: None,
            outliving: sessions::Outliving::default(),
            proof: None,
            started: timing::now(),
            shaken: None,
            no_common_tls: None,
            unasked: false,
            pulse,
            label,
            server,
        }
    }

    /// Logs in early, for a coming reload.
    pub(super) fn prepare(&mut self) {
        self.login = Some(EarlyLogin::begin(self.server.session.clone()));
    }

    /// Cancels the early login, because the reload is delayed.
    pub(super) fn give_up(&mut self) {
        self.login = None;
    }

    /// A sentence that says what is not proven, although the server serves the right set: it may have read a set that only
    /// looks the same, with another authority under one of the names.
    pub(super) fn unproven(&self) -> Option<&'static str> {
        if self.no_common_tls.is_some() {
            return Some(report::UNSPOKEN);
        }
        self.unasked.then_some(report::UNASKED)
    }

    /// The settings that keep published files from being used.
    pub(super) fn concerns(&self) -> &[Finding] {
        &self.concerns
    }

    pub(super) fn sessions(&self) -> Option<&(SystemTime, SessionCounts)> {
        self.sessions.as_ref()
    }

    /// Whether it was started again, or stopped, since the last attempt.
    pub(super) fn is_another(&self) -> bool {
        self.socket.is_another()
    }

    /// Ends when something has changed in the directories of the server's socket and files. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        self.changes.changed().await;
    }

    /// Reloads, if necessary or useful, and verifies. `is_new` means that the set was just published.
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        let Publication { material, extra_authorities, .. } = publication;
        self.changes.settle();
        let restarted = self.socket.look();
        self.leaves.publish(material.leaf().fingerprint());
        let mut expected = Expected::of(material, extra_authorities, self.leaves.earlier());
        delivery.begin(&features(&expected), is_new);

        let lives = self.lives(publication.life());
        let begun = Instant::now();
        // Verifying a set that is known to be served needs no session. But a server that was started again has read its settings
        // again, and somebody may have corrected those that were wrong.
        let alone = self.server.claims.is_none() && !restarted;
        let is_well = !self.concerns.iter().any(|it| it.severity == Severity::Failure);
        let routine = alone && delivery.is_at_rest() && self.known.is_some() && is_well;
        let reload =
            if routine { Ok(Reload::default()) } else { self.reload(delivery, lives).await };
        let (Reload { signalled, mut unasked }, error) =
            reload.map_or_else(|error| (Reload::default(), Some(error)), |reload| (reload, None));
        self.claim(error.is_none());
        let reload = signalled.then(|| begun.elapsed());

        let begun = Instant::now();
        let place = self.place();
        // A server that refuses the leaf for reasons of its own would log each refusal, so the leaf is not presented again.
        let mut client = Client::of(material, timing::now())
            .filter(|_| self.refused_leaf != self.leaves.published());
        let mut facts = self.probe_beside(&mut unasked, client.as_ref()).await;
        let mut verify = begun.elapsed();
        let out_of_reach = self.is_out_of_reach();
        let judged = |facts: &Option<Facts>, expected: &Expected| match facts {
            Some(facts) => verify::judge(facts, expected, timing::now()),
            None if out_of_reach => Verdict::Unreachable,
            None => Verdict::Unverifiable,
        };
        expected.clients = self.clients();
        let mut verdict = judged(&facts, &expected);
        // A proven result can be logged before further queries; they may explain an unproven one.
        let mut told = false;
        if (verdict != Verdict::Current
            || facts.as_ref().and_then(Facts::proof) == Some(Proof::Nothing))
            && let Some(unasked) = unasked.take()
        {
            self.ask(delivery, unasked).await;
            told = true;
        }
        // The same facts mean something else if revocation lists were added to the server's settings, or its ssl_ca_file was
        // removed, since the settings were last queried.
        if verdict == Verdict::OldAuthorities && hangs_on_settings(facts.as_ref(), expected.clients)
        {
            self.ask_settings().await;
        }
        // The server may have loaded other files since the probe, or may listen at another address.
        let (clients, before) = (self.clients(), expected.clients);
        if clients != before {
            // The server may have refused the leaf because of its settings at that time.
            self.refused_leaf = None;
        }
        expected.clients = clients;
        if self.place() != place || (clients.asks && !before.asks) {
            // The first probe may have had no address.
            let begun = Instant::now();
            facts = self.probe(client.as_ref()).await;
            verify += begun.elapsed();
            verdict = judged(&facts, &expected);
        } else if clients != before {
            verdict = judged(&facts, &expected);
        }
        if client.take().is_some() {
            verify::wipe_stack();
        }
        let verdict = self.believe(verdict, facts.as_ref(), told).await;
        self.note_reception(facts.as_ref(), expected.clients.revocation);
        if unasked.is_none() {
            unasked = self.session_to_end_others(verdict, lives).await;
        }
        let leaf = expected.leaf;
        let facts = facts.unwrap_or_else(nowhere);
        let (findings, no_common_tls) = (Vec::new(), None);
        let reload_error = error.map(ReloadError::Session);
        let mut attempt = Attempt {
            reload,
            reload_error,
            verify,
            facts,
            verdict,
            leaf,
            findings,
            no_common_tls,
            unasked: unasked.map(|session| FollowUp::Session(Box::new(session))),
        };
        if attempt.has_no_common_tls() {
            self.look_without_handshake(&mut attempt).await;
        }
        if !attempt.is_explained() {
            attempt.findings = self.look_for_causes(attempt.reload_error.is_none()).await;
        }
        attempt
    }

    /// Ignores a TLS alert that proves nothing: anyone who can answer at the address can send its seven bytes. If an earlier
    /// handshake was completed, and the server's TLS settings are still the same, the alert counts as no answer
    /// (`Unreachable`). If the settings cannot be queried, that holds only if the earlier handshake did not show the set in
    /// force, so that an alert cannot end an alarm. `told` means that this attempt has already queried the settings.
    async fn believe(&mut self, verdict: Verdict, facts: Option<&Facts>, told: bool) -> Verdict {
        let answer = facts.map(|facts| &facts.answer);
        if let Some(verify::Answer::Served(_) | verify::Answer::Plaintext) = answer {
            let in_force = verdict == Verdict::Current;
            self.shaken = Some(HandshakeResult { settings: self.others(), in_force });
        }
        let is_alert = matches!(answer, Some(verify::Answer::Refused(_)));
        let Some(before) = self.shaken.take_if(|_| is_alert && verdict == Verdict::Unverifiable)
        else {
            return verdict;
        };
        // The settings may have changed since they were last queried.
        if !told {
            self.ask_settings().await;
        }
        let (was, is) = (before.settings.clone(), self.others());
        let (was, is) = (was.as_ref(), is.as_ref());
        let is_same = match (was, is) {
            // Not all settings were known before, so a difference proves nothing.
            (Some(was), Some(is)) if is.complete && !was.complete => true,
            (Some(was), Some(is)) => was == is,
            _ => true,
        };
        let is_known = is.is_some_and(|is| is.complete);
        if is_same && (is_known || !before.in_force) {
            self.shaken = Some(before);
            return Verdict::Unreachable;
        }
        verdict
    }

    fn others(&self) -> Option<OtherSettings> {
        self.known.as_ref().map(|known| known.others.clone())
    }

    /// The server's settings about client certificates, as far as they are known.
    fn clients(&self) -> ClientSettings {
        self.known.as_ref().map(survey::clients).unwrap_or_default()
    }

    /// Logs, once for each leaf, that the server refuses it as a client's certificate for another reason than its authorities.
    fn note_reception(&mut self, facts: Option<&Facts>, revocation: bool) {
        if let Some(Facts { answer: verify::Answer::Served(served), .. }) = facts
            && Some(served.leaf.fingerprint()) == self.leaves.published()
            && let Reception::Refused(alert) = served.reception
            && !served.reception.denies_the_authorities(revocation)
        {
            report::log_certificate_refused(self.label.as_deref(), alert);
            self.refused_leaf = self.leaves.published();
        }
    }
}

/// Whether the observed authorities would be the right ones under other settings.
fn hangs_on_settings(facts: Option<&Facts>, clients: ClientSettings) -> bool {
    matches!(facts, Some(Facts { answer: verify::Answer::Served(served), .. })
        if (clients.asks && served.authorities.is_none())
            || (!clients.revocation && matches!(served.reception, Reception::Refused(_))))
}

fn nowhere() -> Facts {
    Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) }
}
