//! A PostgreSQL: one attempt to have it serve the published set, and what follows from it.

mod ask;
mod attempt;
mod conclude;
mod login;
mod look;
mod report;
mod server;
mod trouble;

use std::collections::VecDeque;
use std::time::SystemTime;

use tokio::time::Instant;

pub(crate) use attempt::Attempt;
use login::Login;
pub(crate) use login::Unasked;
pub use server::Server;
#[cfg(test)]
pub(super) use trouble::{Trouble, Weight};

use crate::consumers::{Delivery, Publication};
use crate::finding::Finding;
use crate::material::Fingerprint;
use crate::sql::{SessionCounts, TlsSettings};
use crate::status::Pulse;
use crate::survey::{self, Files};
use crate::timing;
use crate::verify::{self, Client, ClientSettings, Expected, Facts, Proof, Reception, Verdict};
use crate::watching::{Changes, Watching};

/// What the loop does while an SQL session is open.
const ASKING: &str = "asking PostgreSQL";
/// How many earlier leaves are remembered, to know them when they are still served.
const EARLIER: usize = 64;

pub(super) struct Postgres {
    server: Server,
    /// Its name in the log, where there are several.
    label: Option<String>,
    /// The last known settings; they tell where to probe while SQL is unavailable.
    known: Option<TlsSettings>,
    /// What its files and settings were when it was last asked to reload, if that is known yet.
    seen: Option<Seen>,
    /// A session that is being opened for the reload that is to come.
    login: Option<Login>,
    changes: Changes,
    leaf: Option<Fingerprint>,
    /// The leaf that the server refuses as a client's: it is not shown again.
    unwelcome: Option<Fingerprint>,
    earlier: VecDeque<Fingerprint>,
    concerns: Vec<Finding>,
    file_errors: Vec<String>,
    /// How many sessions there were at the last reload that the role could see them at.
    sessions: Option<(SystemTime, SessionCounts)>,
    /// How much of the authorities was proven when the set was last in force.
    proof: Option<Proof>,
    /// A leaf that was issued later than this cannot have been read before pgsvid has begun to look.
    started: SystemTime,
    /// The set looks as if it were in force, and the server may have read one before this process began that looks the same.
    unasked: bool,
    pulse: Pulse,
}

/// The server's files and settings at one moment.
type Seen = (Files, TlsSettings);

/// What came of a session.
#[derive(Default)]
struct Reload {
    signalled: bool,
    /// It is open still, to be asked what is new.
    unasked: Option<Unasked>,
}

impl Postgres {
    pub(super) fn new(
        server: Server,
        label: Option<String>,
        watching: &Watching,
        pulse: Pulse,
    ) -> Self {
        let changes = watching.directories([server.session.host.clone()]);
        Self {
            known: None,
            seen: None,
            login: None,
            changes,
            leaf: None,
            unwelcome: None,
            earlier: VecDeque::new(),
            concerns: Vec::new(),
            file_errors: Vec::new(),
            sessions: None,
            proof: None,
            started: timing::now(),
            unasked: false,
            pulse,
            label,
            server,
        }
    }

    /// Logs in early, for a reload that is to come.
    pub(super) fn prepare(&mut self) {
        self.login = Some(Login::begin(self.server.session.clone()));
    }

    /// The reload is not to come yet.
    pub(super) fn give_up(&mut self) {
        self.login = None;
    }

    /// What is not proven though the server serves what it should, in words: it may have read a set that only looks the same,
    /// with another authority under one of the names.
    pub(super) fn unproven(&self) -> Option<&'static str> {
        self.unasked.then_some(report::UNASKED)
    }

    pub(super) fn sessions(&self) -> Option<&(SystemTime, SessionCounts)> {
        self.sessions.as_ref()
    }

    /// Ends when something has changed where the server's socket and files are. May be cancelled without loss.
    pub(super) async fn changed(&mut self) {
        self.changes.changed().await;
    }

    /// Reload, if one is owed or of use, and verification; `is_new` says that the set was published just now.
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        let Publication { material, extra_authorities, .. } = publication;
        self.changes.settle();
        self.remember(material.leaf().fingerprint());
        let earlier = self.earlier.iter().copied().collect();
        let mut expected = Expected::of(material, extra_authorities, earlier);
        let features =
            (expected.leaf, expected.intermediates.clone(), expected.authorities.clone());
        delivery.begin(&features, is_new);

        let life = publication.life();
        let begun = Instant::now();
        // A set that is known to be served needs no session to see whether it still is.
        let routine = delivery.is_at_rest() && self.known.is_some();
        let reload =
            if routine { Ok(Reload::default()) } else { self.reload(delivery, life).await };
        let (Reload { signalled, mut unasked }, sql) =
            reload.map_or_else(|error| (Reload::default(), Some(error)), |reload| (reload, None));
        let reload = signalled.then(|| begun.elapsed());

        let begun = Instant::now();
        let place = self.place();
        // A server that has its own reasons to refuse the leaf would log each refusal.
        let mut client =
            Client::of(material, timing::now()).filter(|_| self.unwelcome != self.leaf);
        let mut facts = self.probe_beside(&mut unasked, client.as_ref()).await;
        let verify = begun.elapsed();
        let judged = |facts: &Option<Facts>, expected: &Expected| match facts {
            Some(facts) => verify::judge(facts, expected, timing::now()),
            None => Verdict::Unverifiable,
        };
        expected.clients = self.clients();
        let mut verdict = judged(&facts, &expected);
        // What is proven may be said before anything else is asked; what is not, may be explained by it.
        if (verdict != Verdict::Current
            || facts.as_ref().and_then(Facts::proof) == Some(Proof::Nothing))
            && let Some(unasked) = unasked.take()
        {
            self.ask(delivery, unasked).await;
        }
        // What was seen means another thing if the server has got revocation lists, or lost its ssl_ca_file, since it was
        // last asked.
        if verdict == Verdict::OldAuthorities && hangs_on_settings(facts.as_ref(), expected.clients)
        {
            self.ask_settings().await;
        }
        // It may have loaded other files since it was looked at, or listens elsewhere.
        let (clients, before) = (self.clients(), expected.clients);
        if clients != before {
            // It may have refused the leaf for what it was set to then.
            self.unwelcome = None;
        }
        expected.clients = clients;
        if self.place() != place || (clients.asks && !before.asks) {
            facts = self.probe(client.as_ref()).await;
            verdict = judged(&facts, &expected);
        } else if clients != before {
            verdict = judged(&facts, &expected);
        }
        if client.take().is_some() {
            verify::wipe_stack();
        }
        self.note_reception(facts.as_ref(), expected.clients.revocation);
        let leaf = expected.leaf;
        let facts = facts.unwrap_or_else(nowhere);
        let findings = Vec::new();
        let mut attempt = Attempt { reload, sql, verify, facts, verdict, leaf, findings, unasked };
        let explained = verdict.is_final()
            || verdict == Verdict::Unreachable
            || attempt.has_outlived_its_renewal();
        if !explained {
            attempt.findings = self.look_for_causes(attempt.sql.is_none()).await;
        }
        attempt
    }

    /// What the server's settings say of client certificates, as far as it has told them.
    fn clients(&self) -> ClientSettings {
        self.known.as_ref().map(survey::clients).unwrap_or_default()
    }

    /// Says once of a leaf that the server does not take it from a client, for another reason than its authorities.
    fn note_reception(&mut self, facts: Option<&Facts>, revocation: bool) {
        if let Some(Facts { answer: verify::Answer::Served(served), .. }) = facts
            && Some(served.leaf.fingerprint()) == self.leaf
            && let Reception::Refused(alert) = served.reception
            && !served.reception.denies_the_authorities(revocation)
        {
            report::unwelcome(self.label.as_deref(), alert);
            self.unwelcome = self.leaf;
        }
    }

    fn remember(&mut self, leaf: Fingerprint) {
        if let Some(before) = self.leaf.replace(leaf)
            && before != leaf
        {
            self.earlier.push_back(before);
            if self.earlier.len() > EARLIER {
                self.earlier.pop_front();
            }
        }
    }
}

/// Whether other settings than these would make the authorities that were seen the right ones.
fn hangs_on_settings(facts: Option<&Facts>, clients: ClientSettings) -> bool {
    matches!(facts, Some(Facts { answer: verify::Answer::Served(served), .. })
        if (clients.asks && served.authorities.is_none())
            || (!clients.revocation && matches!(served.reception, Reception::Refused(_))))
}

fn nowhere() -> Facts {
    Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) }
}
