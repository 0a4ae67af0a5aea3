//! The PostgreSQL that takes part: one attempt to hand the published set over, and what follows from it.

mod ask;
mod attempt;
mod conclude;
mod login;
mod look;
mod report;
mod server;
mod trouble;

use std::collections::{BTreeSet, VecDeque};
use std::time::SystemTime;

use tokio::time::Instant;

pub(crate) use attempt::Attempt;
pub(crate) use login::Login;
use login::Unasked;
pub use server::Server;

use crate::consumers::delivery::Delivery;
use crate::finding::{Code, Finding};
use crate::material::{Certificate, Fingerprint, Material};
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

/// What a probe tells one published set from the next by: the leaf, what is behind it, and the names of the authorities.
type Features = (Fingerprint, Vec<Fingerprint>, BTreeSet<Vec<u8>>);

pub(crate) struct Consumer {
    server: Server,
    /// The last known settings; they tell where to probe while SQL is unavailable.
    known: Option<TlsSettings>,
    /// What its files and settings were when it was last asked to reload, if that is known yet.
    seen: Option<Seen>,
    delivery: Delivery<Features>,
    problem: Option<String>,
    /// What brings the problem about, and what fixes it.
    findings: Vec<Finding>,
    /// The codes of the problem, also of what waiting is enough for.
    codes: Vec<Code>,
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

impl Consumer {
    /// `exposed` says that others may have exchanged what it has read before this process has begun to look.
    pub(crate) fn new(server: Server, watching: &Watching, pulse: Pulse, exposed: bool) -> Self {
        let changes = watching.directories([server.session.host.clone()]);
        Self {
            known: None,
            seen: None,
            // No look shows whether it has read the published map, or authorities of the same names.
            delivery: Delivery::new(server.verify.every, server.role_map.is_some() || exposed),
            problem: None,
            findings: Vec::new(),
            codes: Vec::new(),
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
            server,
        }
    }

    /// When the next attempt is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.delivery.next()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.delivery.is_settled()
    }

    /// Begins to log in, for a reload that is to come.
    pub(crate) fn begin_login(&self) -> Login {
        Login::begin(self.server.session.clone())
    }

    pub(crate) fn owes_reload(&self) -> bool {
        self.delivery.owes_reload()
    }

    /// What is not proven though the server serves what it should, in words: it may have read a set that only looks the same,
    /// with another authority under one of the names.
    pub(crate) fn unproven(&self) -> Option<&'static str> {
        self.unasked.then_some(report::UNASKED)
    }

    /// PostgreSQL may have read something else than what is published.
    pub(crate) fn distrust(&mut self) {
        self.delivery.distrust();
    }

    /// An attempt was not waited for to its end: another is due.
    pub(crate) fn interrupted(&mut self) {
        self.delivery.hurry(Instant::now());
    }

    pub(crate) fn sessions(&self) -> Option<&(SystemTime, SessionCounts)> {
        self.sessions.as_ref()
    }

    pub(crate) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// What brings the problem about, and what fixes it.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The codes of the problem, also of what waiting is enough for.
    pub(crate) fn codes(&self) -> &[Code] {
        &self.codes
    }

    /// Ends when an attempt is open and something has changed where the server's socket and files are. May be
    /// cancelled without loss.
    pub(crate) async fn mended(consumer: Option<&mut Self>) {
        match consumer {
            Some(consumer) if consumer.delivery.is_trying() => {
                let look = loop {
                    match consumer.delivery.after_change() {
                        Some(moment) => break moment,
                        None => consumer.changes.changed().await,
                    }
                    consumer.delivery.note_change(Instant::now());
                };
                // PostgreSQL binds its socket before it answers.
                tokio::time::sleep_until(look).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Reload, if one is owed or of use, and verification. `login` is a session that is being opened already.
    pub(crate) async fn attempt(
        &mut self,
        material: &Material,
        authorities: &[Certificate],
        published: bool,
        login: Option<Login>,
    ) -> Attempt {
        self.changes.settle();
        self.remember(material.leaf().fingerprint());
        let earlier = self.earlier.iter().copied().collect();
        let mut expected = Expected::of(material, authorities, earlier);
        let features =
            (expected.leaf, expected.intermediates.clone(), expected.authorities.clone());
        self.delivery.begin(&features, published);

        let leaf = material.leaf();
        let life = leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default();
        let begun = Instant::now();
        // A set that is known to be served needs no session to see whether it still is.
        let routine = self.delivery.is_at_rest() && self.known.is_some();
        let reload = if routine { Ok(Reload::default()) } else { self.reload(login, life).await };
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
            self.ask(unasked).await;
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
            report::unwelcome(alert);
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
