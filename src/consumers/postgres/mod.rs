//! The PostgreSQL that takes part: one attempt to hand the published set over, and what follows from it.

mod ask;
mod attempt;
mod conclude;
mod login;
mod look;
mod report;
mod server;
mod trouble;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub(crate) use attempt::Attempt;
pub(crate) use login::Login;
pub use server::Server;

use attempt::Features;
use login::Unasked;

use crate::diagnose::Finding;
use crate::material::{Certificate, Fingerprint, Material};
use crate::postgres::{SessionCounts, TlsSettings};
use crate::status::Pulse;
use crate::survey::Files;
use crate::timing::{self, Backoff};
use crate::verify::{self, Client, Expected, Facts, Reception, Verdict};
use crate::watching::{Changes, Watching};

/// First and longest back-off where waiting is enough.
const SOON: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// The same where somebody has to mend something that we cannot watch.
const SLOWLY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A SIGHUP applies pending edits of the operator's and wakes every backend: without news there is none sooner.
const SIGNAL_AGAIN: Duration = Duration::from_secs(300);
/// Shortest pause after a change in a watched directory, which others may use, too.
const SETTLE: Duration = Duration::from_millis(50);
/// Attempts that a change brought about double the pause until the next one so often: 3.2 seconds at most.
const DOUBLINGS: u32 = 6;
/// How many different troubles are remembered as having been said.
const SAID: usize = 8;
/// What the loop does while an SQL session is open.
const ASKING: &str = "asking PostgreSQL";
/// How many earlier leaves are remembered, to know them when they are still served.
const EARLIER: usize = 64;

/// How the last attempt ended.
enum Standing {
    /// Nothing was handed over yet.
    New,
    /// Nothing is left to be done until the next verification is due.
    Settled,
    /// To be tried again.
    Trying { backoff: Backoff, slow: bool },
}

pub(crate) struct Consumer {
    server: Server,
    /// The last known settings; they tell where to probe while SQL is unavailable.
    known: Option<TlsSettings>,
    /// When the postmaster was last signalled, and what its files and settings were then.
    signalled: Option<(Instant, Option<Seen>)>,
    /// A publication has not been followed by a reload yet.
    owes_reload: bool,
    /// No probe shows whether PostgreSQL has read what is published, before a reload of ours has succeeded: the server's
    /// `pg_ident.conf` was published, or somebody has been at the published set.
    proof_takes_reload: bool,
    standing: Standing,
    /// Between tries to ask a server that serves what it should, but was never asked.
    ask_again: Backoff,
    verdict: Option<Verdict>,
    problem: Option<String>,
    advice: Vec<Finding>,
    /// What was said since a set was last served: one trouble may show itself in more than one way, in turns.
    said: Vec<String>,
    next: Option<Instant>,
    changes: Changes,
    /// Something has changed there since the last attempt.
    changed: bool,
    /// How many attempts a change has brought about since a set was last published or served.
    eager: u32,
    leaf: Option<Fingerprint>,
    /// The leaf that the server refuses as a client's: it is not shown again.
    unwelcome: Option<Fingerprint>,
    earlier: VecDeque<Fingerprint>,
    concerns: Vec<Finding>,
    file_errors: Vec<String>,
    /// How many sessions there were at the last reload that the role could see them at.
    sessions: Option<(SystemTime, SessionCounts)>,
    /// What the server was last seen to serve, of what was published.
    proven: Option<Features>,
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
    pub(crate) fn new(server: Server, watching: &Watching, pulse: Pulse) -> Self {
        let changes = watching.directories([server.session.host.clone()]);
        Self {
            known: None,
            signalled: None,
            owes_reload: true,
            proof_takes_reload: server.role_map.is_some(),
            standing: Standing::New,
            ask_again: Backoff::new(SOON.0, SOON.1),
            verdict: None,
            problem: None,
            advice: Vec::new(),
            said: Vec::new(),
            next: None,
            changes,
            changed: false,
            eager: 0,
            leaf: None,
            unwelcome: None,
            earlier: VecDeque::new(),
            concerns: Vec::new(),
            file_errors: Vec::new(),
            sessions: None,
            proven: None,
            pulse,
            server,
        }
    }

    /// When the next attempt is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Settled)
    }

    /// Begins to log in, for a reload that is to come.
    pub(crate) fn begin_login(&self) -> Login {
        Login::begin(self.server.session.clone())
    }

    pub(crate) fn owes_reload(&self) -> bool {
        self.owes_reload
    }

    /// PostgreSQL may have read something else than what is published.
    pub(crate) fn distrust(&mut self) {
        self.owes_reload = true;
        self.proof_takes_reload = true;
        self.standing = Standing::New;
    }

    pub(crate) fn sessions(&self) -> Option<&(SystemTime, SessionCounts)> {
        self.sessions.as_ref()
    }

    pub(crate) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// What brings the problem about, and what mends it.
    pub(crate) fn advice(&self) -> &[Finding] {
        &self.advice
    }

    /// Ends when an attempt is open and something has changed where the server's socket and files are. May be
    /// cancelled without loss.
    pub(crate) async fn mended(consumer: Option<&mut Self>) {
        match consumer {
            Some(consumer) if matches!(consumer.standing, Standing::Trying { .. }) => {
                if !consumer.changed {
                    consumer.changes.changed().await;
                    consumer.changed = true;
                }
                // PostgreSQL binds its socket before it answers; an editor writes and renames.
                // And others may work in the same directory without end, /tmp perhaps.
                tokio::time::sleep(SETTLE * 2u32.pow(consumer.eager.min(DOUBLINGS))).await;
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
        let because_of_change = std::mem::take(&mut self.changed);
        self.eager = if published { 0 } else { self.eager + u32::from(because_of_change) };
        self.changes.settle();
        self.owes_reload |= published;
        self.remember(material.leaf().fingerprint());
        let earlier = self.earlier.iter().copied().collect();
        let mut expected = Expected::of(material, authorities, earlier);

        let leaf = material.leaf();
        let life = leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default();
        let begun = Instant::now();
        // A set that is known to be served needs no session to see whether it still is.
        let routine = self.is_settled() && !self.owes_reload && self.known.is_some();
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
        expected.revocation = self.has_revocation();
        let mut verdict = judged(&facts, &expected);
        // What is proven may be said before anything else is asked; what is not, may be explained by it.
        if verdict != Verdict::Current
            && let Some(unasked) = unasked.take()
        {
            self.ask(unasked).await;
        }
        // A refused leaf means another thing to a server that has got revocation lists since it was last asked.
        if verdict == Verdict::OldAuthorities && !expected.revocation && is_refused(facts.as_ref())
        {
            self.ask_settings().await;
        }
        if self.has_revocation() != expected.revocation {
            expected.revocation = self.has_revocation();
            verdict = judged(&facts, &expected);
        }
        // It listens elsewhere since it was last asked.
        if self.place() != place {
            facts = self.probe(client.as_ref()).await;
            verdict = judged(&facts, &expected);
        }
        if client.take().is_some() {
            verify::wipe_stack();
        }
        self.note_reception(facts.as_ref(), expected.revocation);
        let features = (expected.leaf, expected.authorities);
        let facts = facts.unwrap_or_else(nowhere);
        let findings = Vec::new();
        let mut attempt =
            Attempt { reload, sql, verify, facts, verdict, findings, features, unasked };
        let explained = verdict.is_final()
            || verdict == Verdict::Unreachable
            || attempt.has_outlived_its_renewal();
        if !explained {
            attempt.findings = self.findings(attempt.sql.is_none()).await;
        }
        attempt
    }

    /// Whether the server has revocation lists, as far as it has said so.
    fn has_revocation(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.revocation)
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

/// Whether the leaf that was shown as a client's was refused.
fn is_refused(facts: Option<&Facts>) -> bool {
    matches!(facts, Some(Facts { answer: verify::Answer::Served(served), .. })
        if matches!(served.reception, Reception::Refused(_)))
}

fn nowhere() -> Facts {
    Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) }
}
