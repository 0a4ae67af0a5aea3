//! The login that proves what PgBouncer shows to PostgreSQL. It comes after the conclusion about what PgBouncer serves, so no
//! hook and no other consumer waits for it.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{HANDSHAKES, Pgbouncer, report};
use crate::consumers::{Attempt, FollowUp, Publication};
use crate::finding::Finding;
use crate::material::Fingerprint;
use crate::pgbouncer::{Login, ServerSide, Settings};
use crate::status;
use crate::timing::{self, Backoff};
use crate::verify::{self, Verdict};

/// How long a login waits for the proof that PostgreSQL serves the set: before, it may still refuse a new authority.
const PROOF: Duration = Duration::from_secs(5);
/// The longest time for one login with its query.
const LONGEST: Duration = verify::LONGEST.saturating_add(verify::LIMIT);
/// The pause before the second login after one that has proven nothing, and the longest pause.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the last login has shown.
pub(super) struct Shown {
    login: Option<Login>,
    state: ServerSide,
    /// The published leaf of the last login, and when it was made.
    last: Option<(Fingerprint, SystemTime)>,
    /// What is wrong; it stays until another login has shown otherwise.
    finding: Option<Finding>,
    /// The set that each PostgreSQL is proven to serve.
    proven: watch::Receiver<Option<u64>>,
    backoff: Backoff,
}

impl Shown {
    pub(super) fn new(login: Option<Login>) -> Self {
        Self {
            login,
            state: ServerSide::Unproven,
            last: None,
            finding: None,
            proven: watch::channel(None).1,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// What is wrong with what it shows to PostgreSQL.
    pub(super) fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// What is left to do after an attempt: a login, unless one has already proven this set.
    pub(super) fn wanted(&self, attempt: &Attempt, publication: &Publication) -> Option<FollowUp> {
        let is_known = self.state == ServerSide::Current
            && self.last.is_some_and(|(leaf, _)| leaf == attempt.leaf);
        // PgBouncer admits no client with a set that it does not serve.
        let is_due = self.login.is_some() && attempt.verdict == Verdict::Current && !is_known;
        is_due.then(|| FollowUp::Login(publication.clone()))
    }
}

impl Pgbouncer {
    /// Follows the set that each PostgreSQL is proven to serve.
    pub(in crate::consumers) fn follow(&mut self, proven: watch::Receiver<Option<u64>>) {
        self.shown.proven = proven;
    }

    /// What it shows to PostgreSQL, as far as it is known for the published set.
    pub(in crate::consumers) fn server_side(&self) -> status::ServerSide {
        let Shown { login, state, last, .. } = &self.shown;
        let is_of_this_set = last.is_some_and(|(leaf, _)| self.leaves.published() == Some(leaf));
        let unproven = ServerSide::Unproven;
        let state = if is_of_this_set { state } else { &unproven };
        status::ServerSide {
            state: state.name(),
            is_tried: login.is_some(),
            at: last.filter(|_| is_of_this_set).map(|(_, at)| at),
        }
    }

    /// Logs in through it. Returns when to look at it again, if this has not proven that it shows the published set.
    pub(in crate::consumers) async fn log_in(
        &mut self,
        publication: &Publication,
    ) -> Option<Instant> {
        let login = self.shown.login.clone()?;
        self.pulse.step("waiting for the proof of PostgreSQL", PROOF);
        let proven = self.shown.proven.wait_for(|proven| *proven == Some(publication.generation));
        // Without the proof, the login shows what PostgreSQL does now.
        drop(timeout(PROOF, proven).await);
        let begun = Instant::now();
        let state = self.try_login(&login, publication).await;
        verify::wipe_stack();
        let (label, leaf) = (self.label.as_deref(), publication.material.leaf().fingerprint());
        let shown = &mut self.shown;
        shown.last = Some((leaf, timing::now()));
        let next = if state == ServerSide::Current {
            report::shows_the_set(label, publication, begun.elapsed());
            shown.finding = None;
            shown.backoff.reset();
            None
        } else {
            let found = state.finding(&login);
            if shown.finding.as_ref() != Some(&found) {
                report::does_not_show_the_set(label, publication, &state, &found);
                shown.finding = Some(found);
            }
            Some(Instant::now() + shown.backoff.delay())
        };
        shown.state = state;
        self.combine_concerns();
        next
    }

    async fn try_login(&self, login: &Login, publication: &Publication) -> ServerSide {
        let Publication { material, extra_authorities, .. } = publication;
        let known = self.known.as_ref().map(Settings::listens_on);
        let pooler = &self.pooler;
        let Some((hosts, port)) = pooler.verify.target.hosts(known, pooler.console.port) else {
            return ServerSide::Unproven;
        };
        let hosts = pooler.verify.within_reach(hosts);
        let shares = self.known.as_ref().is_some_and(Settings::shares_its_port);
        // Where processes share a port, the kernel chooses one for each login.
        let logins = if shares { HANDSHAKES } else { 1 };
        let mut state = ServerSide::Unproven;
        for _ in 0..logins {
            self.pulse.step("logging in through PgBouncer", LONGEST);
            state = login.try_through((&hosts, port), material, extra_authorities).await;
            if state != ServerSide::Current {
                break;
            }
        }
        state
    }
}
