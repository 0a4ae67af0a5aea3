//! A PgBouncer: one attempt to make it serve the published set, and its consequences.
//!
//! It is asked over its admin console to read its files again (RELOAD), and to renew its connections to PostgreSQL
//! (RECONNECT). Its answers prove nothing; a handshake does.

mod explain;
mod pooler;
mod report;
mod server_side;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

pub use pooler::Pooler;

use super::attempt::{Attempt, ReloadError};
use super::delivery::Obstacle;
use super::leaves::Leaves;
use super::socket::Socket;
use super::trouble::Trouble;
use super::{Delivery, Publication};
use crate::finding::{Code, Finding};
use crate::material::Fingerprint;
use crate::pgbouncer::{self, Console, Settings, TlsFiles};
use crate::sql;
use crate::status::Pulse;
use crate::timing;
use crate::verify::{self, Client, Expected, Facts, Verdict};
use crate::watching::{self, Changes, Watching};

/// How long a session on the console may take, including its end.
const LONGEST: Duration = sql::BRIEF.saturating_add(sql::LIMIT);
/// Where processes share a port, the kernel chooses one for each connection. With two processes, this many handshakes in a
/// row miss one of them once in 65,536 times.
const HANDSHAKES: u32 = 16;
/// How long the other processes on the port may take to load the set, because they are asked at the same time.
const OTHERS: Duration = Duration::from_secs(2);
/// The pause between two handshakes until the other processes have loaded the set.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Pgbouncer {
    pooler: Pooler,
    /// Its name in the log, if there are several consumers.
    label: Option<String>,
    /// The last known settings; they contain the address to probe while the console is unavailable.
    known: Option<Settings>,
    /// Its files at the last reload.
    seen: Option<Seen>,
    leaves: Leaves,
    /// The leaf with which it was last asked to renew its connections to PostgreSQL.
    reconnected: Option<Fingerprint>,
    /// What is wrong with its settings.
    settings_concerns: Vec<Finding>,
    /// That, and what is wrong with what it shows to PostgreSQL.
    concerns: Vec<Finding>,
    shown: server_side::Shown,
    complaint: Option<String>,
    changes: Changes,
    socket: Socket,
    /// Whether it opens the source's own files at each connection to PostgreSQL.
    opens_in_place: bool,
    /// Whether the set seems to be in force, although PgBouncer was never asked to read it.
    unasked: bool,
    pulse: Pulse,
}

/// The files that PgBouncer reads, and when its ini was last written.
type Seen = (TlsFiles, Option<SystemTime>);

impl Pgbouncer {
    pub(super) fn new(
        pooler: Pooler,
        label: Option<String>,
        watching: &Watching,
        pulse: Pulse,
    ) -> Self {
        let changes = watching.directories([pooler.console.host.clone()]);
        let socket = Socket::new(pooler.console.socket());
        Self {
            shown: server_side::Shown::new(pooler.login.clone()),
            pooler,
            label,
            known: None,
            seen: None,
            leaves: Leaves::default(),
            reconnected: None,
            settings_concerns: Vec::new(),
            concerns: Vec::new(),
            complaint: None,
            changes,
            socket,
            opens_in_place: false,
            unasked: false,
            pulse,
        }
    }

    /// A sentence that says what is not proven, although PgBouncer serves the right set.
    pub(super) fn unproven(&self) -> Option<&'static str> {
        self.unasked.then_some(report::UNASKED)
    }

    /// The settings that keep published files from being used, and what is wrong with what it shows to PostgreSQL.
    pub(super) fn concerns(&self) -> &[Finding] {
        &self.concerns
    }

    /// Whether it opens the source's own files at each connection to PostgreSQL, as far as its settings are known.
    pub(super) fn opens_in_place(&self) -> bool {
        self.opens_in_place
    }

    /// Whether it was started again, or stopped, since the last attempt.
    pub(super) fn is_another(&self) -> bool {
        self.socket.is_another()
    }

    /// Whether its settings have been queried.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Ends when something has changed in the directories of its socket and its ini. Safe to cancel.
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
        let leaf = material.leaf().fingerprint();
        self.leaves.publish(leaf);
        let mut expected = Expected::of(material, extra_authorities, self.leaves.earlier());
        delivery.begin(&super::features(&expected), is_new);

        let begun = Instant::now();
        // Verifying a set that is known to be served needs no session, and a session writes three lines into PgBouncer's log.
        // Concerns may have been dealt with since.
        let routine = delivery.is_at_rest()
            && self.known.is_some()
            && self.settings_concerns.is_empty()
            && self.shown.finding().is_none()
            && !restarted;
        let reloaded = if routine { Ok(false) } else { self.reload(delivery, leaf).await };
        let reload = matches!(reloaded, Ok(true)).then(|| begun.elapsed());
        let reload_error = reloaded.err().map(ReloadError::Console);

        let begun = Instant::now();
        expected.clients = Settings::clients(self.known.as_ref());
        let mut client = Client::of(material, timing::now());
        let (facts, verdict) = self.verify(&expected, client.as_ref()).await;
        if client.take().is_some() {
            verify::wipe_stack();
        }
        let verify = begun.elapsed();
        let mut attempt = Attempt {
            reload,
            reload_error,
            verify,
            facts,
            verdict,
            leaf,
            findings: Vec::new(),
            no_common_tls: None,
            unasked: None,
        };
        if !attempt.is_explained() {
            attempt.findings.clone_from(&self.settings_concerns);
        }
        attempt.unasked = self.shown.wanted(&attempt, publication);
        attempt
    }

    /// One session on the console. Returns whether a reload was requested.
    async fn reload(
        &mut self,
        delivery: &mut Delivery,
        leaf: Fingerprint,
    ) -> Result<bool, pgbouncer::Error> {
        self.pulse.step("asking PgBouncer", LONGEST);
        let console = Console::connect(&self.pooler.console).await?;
        let outcome = self.reload_over(&console, delivery, leaf).await;
        console.close().await;
        outcome
    }

    async fn reload_over(
        &mut self,
        console: &Console,
        delivery: &mut Delivery,
        leaf: Fingerprint,
    ) -> Result<bool, pgbouncer::Error> {
        let mut settings = console.settings().await?;
        let mut seen = self.look(&settings);
        let news = self.seen.as_ref() != Some(&seen);
        // An edit of the ini may end what a login through it has shown.
        let is_edited = news && self.shown.finding().is_some();
        let should_reload = is_edited || delivery.should_reload(news, Instant::now());
        if should_reload {
            let complaint = console.reload().await?;
            delivery.reloaded(Instant::now());
            if let Some(complaint) = complaint.as_deref().filter(|_| complaint != self.complaint) {
                report::complaint(self.label.as_deref(), complaint);
            }
            self.complaint = complaint;
            settings = console.settings().await?;
            seen = self.look(&settings);
            self.seen = Some(seen.clone());
            // If each set has paths of its own, the reload has already renewed the connections.
            let keeps_paths = seen.0.keep_paths_towards_postgresql();
            if keeps_paths && settings.shows_a_certificate() && self.reconnected != Some(leaf) {
                console.reconnect().await?;
                self.reconnected = Some(leaf);
            }
        }
        self.take_note(settings, &seen.0);
        Ok(should_reload)
    }

    /// The files that PgBouncer reads, as they are now, and when its ini was last written: an edit of the ini is news, too.
    fn look(&self, settings: &Settings) -> Seen {
        let Pooler { paths, viewpoint, .. } = &self.pooler;
        let written = std::fs::metadata(settings.ini()).and_then(|found| found.modified());
        (pgbouncer::tls_files(settings, paths, viewpoint), written.ok())
    }

    /// Logs what is new in its settings, and stores them.
    fn take_note(&mut self, settings: Settings, files: &TlsFiles) {
        if self.known.is_none() {
            report::connected(self.label.as_deref(), &settings);
        }
        let mut concerns = pgbouncer::concerns(&settings, files, self.pooler.supply());
        self.opens_in_place = self.pooler.in_place
            && settings.shows_a_certificate()
            && files.keep_paths_towards_postgresql();
        // Only the command `check` recommends the published part of the ini.
        concerns.retain(|found| found.code != Code::PgbouncerFilesMix);
        concerns.extend(
            pgbouncer::alone_on_a_port(&settings).filter(|_| self.pooler.is_beside_another),
        );
        if concerns != self.settings_concerns {
            report::concerns(self.label.as_deref(), &concerns);
            self.settings_concerns = concerns;
            self.combine_concerns();
        }
        let ini = settings.ini();
        let directories = ini.is_absolute().then(|| watching::resolve_path(ini).directories());
        let directories: Vec<PathBuf> = directories.into_iter().flatten().collect();
        self.changes.follow([self.pooler.console.host.clone()].into_iter().chain(directories));
        self.known = Some(settings);
    }

    fn combine_concerns(&mut self) {
        self.concerns.clone_from(&self.settings_concerns);
        self.concerns.extend(self.shown.finding().cloned());
    }

    /// What it serves, and the verdict.
    async fn verify(&self, expected: &Expected, client: Option<&Client>) -> (Facts, Verdict) {
        let known = self.known.as_ref().map(Settings::listens_on);
        let pooler = &self.pooler;
        let Some((hosts, port)) = pooler.verify.target.hosts(known, pooler.console.port) else {
            let answer = verify::Answer::Nothing(String::new());
            return (Facts { address: String::new(), answer }, Verdict::Unverifiable);
        };
        let shares = self.known.as_ref().is_some_and(Settings::shares_its_port);
        if pooler.is_beside_another && !shares {
            let why =
                "another [[pgbouncer]] has the same port, so another process may answer there";
            let address = format!("port {port}");
            let facts = Facts { address, answer: verify::Answer::Nothing(why.to_owned()) };
            return (facts, Verdict::Unreachable);
        }
        let wanted = if shares { HANDSHAKES } else { 1 };
        let (mut right, deadline) = (0, Instant::now() + OTHERS);
        loop {
            self.pulse.step("verifying what PgBouncer serves", verify::LONGEST + PAUSE);
            let facts = pooler.verify.probe(&hosts, port, client).await;
            let verdict = pgbouncer::judge(&facts, expected, timing::now());
            right = if verdict == Verdict::Current { right + 1 } else { 0 };
            let is_late = verdict != Verdict::Current && Instant::now() >= deadline;
            if right >= wanted || !shares || is_late {
                return (facts, verdict);
            }
            if right == 0 {
                sleep(PAUSE).await;
            }
        }
    }

    /// Logs that the published set is in force, as [`super::postgres::Postgres`] does.
    pub(super) fn in_force(
        &mut self,
        attempt: &Attempt,
        delivery: &Delivery,
        publication: &Publication,
        took: Option<Duration>,
        routine: bool,
    ) {
        let Publication { material, generation, .. } = publication;
        let label = self.label.as_deref();
        super::report::rotated(label, attempt, material, *generation, took, routine);
        if !routine {
            report::reload_impossible(label, attempt, &self.pooler.console, *generation);
        }
        let unasked = delivery.was_never_asked();
        if unasked && !self.unasked {
            report::unasked(label, attempt, &self.pooler.console);
        }
        self.unasked = unasked;
    }

    /// Why the published set is not in force; `again` if the attempt before failed, too.
    pub(super) fn not_in_force(
        &mut self,
        attempt: &Attempt,
        again: bool,
        why_not_newer: Finding,
    ) -> (Trouble, Obstacle) {
        self.unasked = false;
        explain::trouble(attempt, &self.pooler.console, again, why_not_newer, timing::now())
    }
}
