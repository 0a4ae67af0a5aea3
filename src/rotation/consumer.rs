//! The PostgreSQL that takes part: one attempt to hand the published set over, and what follows from it.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Server;
use super::report::{self, Said, Trouble};
use crate::diagnose::{self, Files, Finding};
use crate::material::{Certificate, Fingerprint, Material};
use crate::postgres::{self, Retry, Session, SessionCounts, TlsSettings};
use crate::timing::{self, Backoff};
use crate::verify::{self, Expected, Facts, Verdict};
use crate::watching::{self, Changes, Watching};
use crate::{reload, survey};

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

pub(super) struct Consumer {
    server: Server,
    /// The last known settings; they tell where to probe while SQL is unavailable.
    known: Option<TlsSettings>,
    /// When the postmaster was last signalled, and what its files and settings were then.
    signalled: Option<(Instant, Option<(Files, TlsSettings)>)>,
    /// A publication has not been followed by a reload yet.
    owes_reload: bool,
    /// The server's `pg_ident.conf` was published and no reload of ours has succeeded yet: no probe shows that it was
    /// read.
    owes_role_map: bool,
    standing: Standing,
    /// Between tries to ask a server that serves what it should, but was never asked.
    ask_again: Backoff,
    verdict: Option<Verdict>,
    problem: Option<String>,
    /// What was said since a set was last served: one trouble may show itself in more than one way, in turns.
    said: Vec<String>,
    next: Option<Instant>,
    changes: Changes,
    /// Something has changed there since the last attempt.
    changed: bool,
    /// How many attempts a change has brought about since a set was last published or served.
    eager: u32,
    leaf: Option<Fingerprint>,
    earlier: VecDeque<Fingerprint>,
    concerns: Vec<Finding>,
    file_errors: Vec<String>,
    /// How many sessions there were at the last reload that the role could see them at.
    sessions: Option<(SystemTime, SessionCounts)>,
    /// What the server was last seen to serve, of what was published.
    proven: Option<Features>,
}

/// What a probe tells one published set from the next by: the leaf and the names of the authorities.
type Features = (Fingerprint, BTreeSet<Vec<u8>>);

/// What one attempt has shown.
pub(super) struct Attempt {
    /// How long the reload took; `None` if there was none.
    pub(super) reload: Option<Duration>,
    /// Why SQL was not to be had.
    pub(super) sql: Option<postgres::Error>,
    /// How long the verification took.
    pub(super) verify: Duration,
    pub(super) facts: Facts,
    pub(super) verdict: Verdict,
    findings: Vec<Finding>,
    features: Features,
}

impl Consumer {
    pub(super) fn new(server: Server, watching: &Watching) -> Self {
        let changes = watching.directories([server.session.host.clone()]);
        Self {
            known: None,
            signalled: None,
            owes_reload: true,
            owes_role_map: server.role_map.is_some(),
            standing: Standing::New,
            ask_again: Backoff::new(SOON.0, SOON.1),
            verdict: None,
            problem: None,
            said: Vec::new(),
            next: None,
            changes,
            changed: false,
            eager: 0,
            leaf: None,
            earlier: VecDeque::new(),
            concerns: Vec::new(),
            file_errors: Vec::new(),
            sessions: None,
            proven: None,
            server,
        }
    }

    /// When the next attempt is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Settled)
    }

    pub(super) fn owes_reload(&self) -> bool {
        self.owes_reload
    }

    pub(super) fn sessions(&self) -> Option<&(SystemTime, SessionCounts)> {
        self.sessions.as_ref()
    }

    pub(super) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// Ends when an attempt is open and something has changed where the server's socket and files are. May be
    /// cancelled without loss.
    pub(super) async fn mended(consumer: Option<&mut Self>) {
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

    /// Reload, if one is owed or of use, and verification.
    pub(super) async fn attempt(
        &mut self,
        material: &Material,
        authorities: &[Certificate],
        published: bool,
    ) -> Attempt {
        let because_of_change = std::mem::take(&mut self.changed);
        self.eager = if published { 0 } else { self.eager + u32::from(because_of_change) };
        self.changes.settle();
        self.owes_reload |= published;
        self.remember(material.leaf().fingerprint());
        let earlier = self.earlier.iter().copied().collect();
        let expected = Expected::of(material, authorities, earlier);

        let leaf = material.leaf();
        let life = leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default();
        let begun = Instant::now();
        // A set that is known to be served needs no session to see whether it still is.
        let routine = self.is_settled() && !self.owes_reload && self.known.is_some();
        let (reloaded, sql) = if routine { (false, None) } else { self.reload(life).await };
        let reload = reloaded.then(|| begun.elapsed());

        let begun = Instant::now();
        let facts = self.probe().await;
        let verdict = match &facts {
            Some(facts) => verify::judge(facts, &expected, timing::now()),
            None => Verdict::Unverifiable,
        };
        let verify = begun.elapsed();
        let features = (expected.leaf, expected.authorities);
        let facts = facts.unwrap_or_else(nowhere);
        let mut attempt =
            Attempt { reload, sql, verify, facts, verdict, findings: Vec::new(), features };
        let explained = verdict.is_final()
            || verdict == Verdict::Unreachable
            || attempt.has_outlived_its_renewal();
        if !explained {
            attempt.findings = self.findings(attempt.sql.is_none()).await;
        }
        attempt
    }

    /// Draws the conclusions: what to say, and when to try again.
    pub(super) fn record(
        &mut self,
        attempt: &Attempt,
        material: &Material,
        generation: u64,
        took: Option<Duration>,
    ) {
        let done = match attempt.verdict {
            // The probe is the proof, however the reload went; unless it would have shown the same before. An
            // authority may have a new key under its old name.
            Verdict::Current => {
                attempt.sql.is_none()
                    || !self.owes_reload
                    || (!self.owes_role_map && self.proven.as_ref() != Some(&attempt.features))
            }
            Verdict::Unverifiable => attempt.sql.is_none(),
            _ => false,
        };
        let verdict_before = self.verdict.replace(attempt.verdict);
        if done {
            let routine = self.is_settled() && took.is_none() && verdict_before == self.verdict;
            report::rotated(attempt, &self.server.session, material, generation, took, routine);
            self.owes_reload = false;
            if attempt.verdict == Verdict::Current {
                self.proven = Some(attempt.features.clone());
            }
            self.standing = Standing::Settled;
            self.problem = None;
            self.said.clear();
            self.eager = 0;
            self.next = Some(Instant::now() + self.until_next_look(attempt));
            self.changes_of_interest(None);
            return;
        }
        let again = matches!(self.standing, Standing::Trying { .. });
        let trouble =
            Trouble::of(attempt, &attempt.findings, &self.server.session, again, timing::now());
        let slow = trouble.slow;
        let mut backoff = match std::mem::replace(&mut self.standing, Standing::Settled) {
            Standing::Trying { backoff, slow: before } if before == slow && took.is_none() => {
                backoff
            }
            _ => {
                let (first, longest) = if slow { SLOWLY } else { SOON };
                Backoff::new(first, longest)
            }
        };
        let delay = backoff.delay();
        let known = self.said.contains(&trouble.key);
        let said = match (known, took.is_some()) {
            (false, _) => Said::Never,
            (true, true) => Said::ForAnotherGeneration,
            (true, false) => Said::Before,
        };
        trouble.say(generation, delay, said);
        if !known {
            // An alarm after another is news, though it was raised before.
            if trouble.is_alarm() {
                self.said.clear();
            }
            self.said.truncate(SAID - 1);
            self.said.insert(0, trouble.key);
        }
        self.problem = Some(trouble.sentence);
        self.next = Some(Instant::now() + delay);
        self.standing = Standing::Trying { backoff, slow };
        let files = self.known.as_ref().map(|settings| self.files(settings));
        self.changes_of_interest(files.as_ref());
    }

    /// How long a set that is served may be left alone. A server that could not be asked yet is asked as soon as it
    /// can be: its settings may lead elsewhere at the next rotation.
    fn until_next_look(&mut self, attempt: &Attempt) -> Duration {
        if self.known.is_none() && attempt.sql.is_some() && attempt.retry() == Retry::Soon {
            return self.ask_again.delay().min(self.server.verify.every);
        }
        self.server.verify.every
    }

    /// One session: what the server's settings are, and the reload.
    async fn reload(&mut self, life: Duration) -> (bool, Option<postgres::Error>) {
        match self.session(life).await {
            Ok(reloaded) => (reloaded, None),
            Err(error) => (false, Some(error)),
        }
    }

    async fn session(&mut self, life: Duration) -> Result<bool, postgres::Error> {
        let session = Session::connect(&self.server.session).await?;
        let outcome = self.use_session(&session, life).await;
        session.close().await;
        outcome
    }

    async fn use_session(
        &mut self,
        session: &Session,
        life: Duration,
    ) -> Result<bool, postgres::Error> {
        let settings = session.tls_settings().await?;
        let files = self.files(&settings);
        self.tell_concerns(&settings, &files);
        if settings.may_read_errors {
            let errors = session.file_errors().await?;
            if errors != self.file_errors {
                report::file_errors(&errors);
                self.file_errors = errors;
            }
        }
        if settings.may_read_stats {
            self.sessions = Some((timing::now(), session.session_counts(life).await?));
        }
        self.known = Some(settings.clone());
        if !self.owes_reload && (self.is_settled() || !self.has_news(&files, &settings)) {
            return Ok(false);
        }
        if self.owes_role_map {
            self.try_role_map(session).await?;
        }
        reload::postgres::reload(session).await?;
        self.owes_reload = false;
        self.owes_role_map = false;
        self.signalled = Some((Instant::now(), Some((files, settings))));
        Ok(true)
    }

    /// A map with an expression that PostgreSQL cannot compile is not read, and the one before stays in force.
    async fn try_role_map(&self, session: &Session) -> Result<(), postgres::Error> {
        for expression in self.server.role_map.iter().flatten() {
            match session.matches(expression, "").await {
                Err(error) if error.is_about_an_expression() => {
                    report::unreadable_map(expression, &error);
                }
                tried => drop(tried?),
            }
        }
        Ok(())
    }

    /// Whether another SIGHUP may do what the last one did not.
    fn has_news(&self, files: &Files, settings: &TlsSettings) -> bool {
        self.signalled.as_ref().is_none_or(|(at, seen)| {
            at.elapsed() >= SIGNAL_AGAIN
                || seen.as_ref().is_none_or(|seen| (&seen.0, &seen.1) != (files, settings))
        })
    }

    /// Says what in the settings will keep the files from being served: at start, and when it changes.
    fn tell_concerns(&mut self, settings: &TlsSettings, files: &Files) {
        let first = self.known.is_none();
        let concerns = diagnose::concerns(settings, files, &self.server.paths);
        if first {
            report::server(settings, &self.server.verify.target);
        }
        if concerns != self.concerns {
            report::concerns(&concerns);
            self.concerns = concerns;
        }
    }

    /// The hosts to probe, and `None` if there is nothing to be seen.
    async fn probe(&self) -> Option<Facts> {
        let known = self.known.as_ref().map(|known| (known.listen_addresses.as_str(), known.port));
        let (hosts, port) = self.server.verify.target.hosts(known, self.server.session.port)?;
        Some(self.server.verify.probe(&hosts, port).await)
    }

    /// What can be seen from here of why the published set is not served. The reload may have applied pending
    /// edits, and only a new session shows them.
    async fn findings(&mut self, reachable: bool) -> Vec<Finding> {
        if reachable && let Ok(session) = Session::connect(&self.server.session).await {
            if let Ok(settings) = session.tls_settings().await {
                self.known = Some(settings);
            }
            session.close().await;
        }
        let Some(settings) = &self.known else {
            return Vec::new();
        };
        // Watched before they are looked at, so that no mending falls in between.
        self.changes_of_interest(Some(&self.files(settings)));
        let files = self.files(settings);
        let mut findings = diagnose::concerns(settings, &files, &self.server.paths);
        findings.extend(diagnose::refused(&files));
        findings
    }

    fn files(&self, settings: &TlsSettings) -> Files {
        let Server { session, paths, viewpoint, .. } = &self.server;
        survey::files(settings, session, paths, viewpoint)
    }

    /// Watches the socket's directory, and those of the files that PostgreSQL should take.
    fn changes_of_interest(&self, files: Option<&Files>) {
        let mut paths = vec![self.server.session.host.clone()];
        if let Some(files) = files {
            paths.extend(
                [&files.certificate, &files.private_key, &files.authorities]
                    .into_iter()
                    .filter_map(|facts| facts.path.as_deref().map(watching::parent))
                    // Our own directory is watched by the loop.
                    .filter(|path: &PathBuf| *path != self.server.viewpoint.directory),
            );
        }
        self.changes.follow(paths);
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

impl Attempt {
    /// Whether the published leaf is served, and has expired: the server is not at fault.
    pub(super) fn has_outlived_its_renewal(&self) -> bool {
        self.verdict == Verdict::Expired
            && matches!(&self.facts.answer, verify::Answer::Served(served)
                if served.leaf.fingerprint() == self.features.0)
    }

    /// When another try makes sense.
    pub(super) fn retry(&self) -> Retry {
        self.sql.as_ref().map_or(Retry::Soon, postgres::Error::retry)
    }
}

fn nowhere() -> Facts {
    Facts { address: String::new(), answer: verify::Answer::Nothing(String::new()) }
}
