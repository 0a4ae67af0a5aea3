//! Sessions that have outlived the certificate of their client: how long such a certificate lives, and ending them on
//! request.
//!
//! PostgreSQL checks a certificate when a session begins, and does not know later when it expires. So the bound is the
//! beginning of the session plus the longest life that a certificate can have.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::login::{self, ServerAnswers};
use super::{ASKING, Postgres};
use crate::consumers::attempt::{Lifetimes, ReloadSession};
use crate::diagnose;
use crate::finding::{Code, Finding};
use crate::sql::{self, EndedSession, Session, TlsSettings};
use crate::verify::Verdict;

/// The most sessions that are ended in one [`PERIOD`]: their clients connect again, and each connection costs PostgreSQL a
/// process and a handshake.
const MOST: u32 = 60;
const PERIOD: Duration = Duration::from_secs(60);

/// How long the certificates of clients live, and whether sessions that have outlived theirs are ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// The longest life of a client's certificate. Without it: the longest life of pgsvid's own SVIDs since its start.
    pub life: Option<Duration>,
    /// How long after that life a session is ended; `None` if none is.
    pub end_after: Option<Duration>,
}

/// What is known of such sessions on one server.
#[derive(Debug, Default)]
pub(super) struct Outliving {
    /// The longest life of pgsvid's own leaves so far: a leaf lives shorter if its authority expires soon.
    longest: Duration,
    client: Duration,
    pace: SessionEndLimit,
    /// What the role lacks, as far as it is known.
    pub(super) rights: Option<Finding>,
    /// What keeps sessions from being ended, as last reported.
    told: Option<Finding>,
    /// How many sessions were ended.
    ended: u64,
}

impl Outliving {
    /// The lifetimes of certificates, if pgsvid's present leaf lives for `own`.
    fn lives(&mut self, settings: &SessionSettings, own: Duration) -> Lifetimes {
        self.longest = own.max(self.longest);
        self.client = settings.life.unwrap_or(self.longest);
        Lifetimes { own, client: self.client }
    }
}

impl Postgres {
    pub(super) fn lives(&mut self, own: Duration) -> Lifetimes {
        self.outliving.lives(&self.server.sessions, own)
    }

    /// The longest life of a client's certificate, and how many sessions were ended.
    pub(in crate::consumers) fn outlived(&self) -> (Duration, u64) {
        (self.outliving.client, self.outliving.ended)
    }

    /// What the role lacks to see, or to end, the sessions of others.
    pub(in crate::consumers) fn session_rights(&self) -> Option<&Finding> {
        self.outliving.rights.as_ref()
    }

    /// Opens a session to look for outlived sessions, if they are to be ended and the attempt has left no session open. They
    /// are ended only while the published set is in force, because their clients connect again.
    pub(super) async fn session_to_end_others(
        &self,
        verdict: Verdict,
        lives: Lifetimes,
    ) -> Option<ReloadSession> {
        self.server.sessions.end_after?;
        if !verdict.is_final() {
            return None;
        }
        self.pulse.step(ASKING, login::LONGEST);
        match Session::connect_briefly(&self.server.session).await {
            Ok(session) => Some(ReloadSession { session, lives }),
            Err(error) => {
                debug!(%error, "cannot look for sessions that have outlived their certificate");
                None
            }
        }
    }

    /// The server's answers, if there are any; closes the session. `proven` means that the published set is in force.
    pub(super) async fn hear(
        &mut self,
        unasked: ReloadSession,
        proven: bool,
    ) -> Option<ServerAnswers> {
        if proven {
            self.end_sessions(&unasked).await;
        }
        login::told(unasked).await
    }

    async fn end_sessions(&mut self, ReloadSession { session, lives }: &ReloadSession) {
        let Some(after) = self.server.sessions.end_after else { return };
        let now = Instant::now();
        let most = self.outliving.pace.allowed(now);
        if most == 0 {
            return;
        }
        match session.end_sessions(lives.client.saturating_add(after), most).await {
            Ok(ended) => {
                // PostgreSQL no longer refuses to end sessions.
                self.outliving.told.take_if(|told| !is_about_rights(told));
                self.outliving.pace.used(u32::try_from(ended.len()).unwrap_or(u32::MAX));
                self.outliving.ended += ended.len() as u64;
                for EndedSession { pid, role, age, serial } in ended {
                    let age = humantime::format_duration(age);
                    info!(event = "session-ended", consumer = self.label.as_deref(),
                        role, pid, %age, serial, "ended a session that has outlived its certificate");
                }
            }
            Err(error @ sql::Error::Refused { .. }) if self.outliving.rights.is_none() => {
                let text = "postgres.end_sessions is set, and PostgreSQL refuses to end sessions";
                let found = Finding::warning(Code::SessionRights, text).cause(error.to_string());
                self.tell_obstacle(Some(found));
            }
            Err(error) => {
                debug!(%error, "cannot end sessions that have outlived their certificate");
            }
        }
    }

    /// Takes note of what the role may do with the sessions of others.
    pub(super) fn note_rights(&mut self, settings: &TlsSettings) {
        let ends = self.server.sessions.end_after.is_some();
        let rights = diagnose::session_rights(settings, &self.server.session, ends);
        self.outliving.rights.clone_from(&rights);
        if ends && (rights.is_some() || self.outliving.told.as_ref().is_some_and(is_about_rights)) {
            self.tell_obstacle(rights);
        }
    }

    /// Logs once what keeps sessions from being ended.
    fn tell_obstacle(&mut self, found: Option<Finding>) {
        if found != self.outliving.told {
            if let Some(found) = &found {
                let (code, cause) = (found.code, found.why());
                let (fix, command) = (found.advice(), found.command.as_deref());
                warn!(event = "sessions-not-ended", consumer = self.label.as_deref(),
                    %code, cause, fix, command, "no session is ended that has outlived its certificate");
            }
            self.outliving.told = found;
        }
    }
}

/// Whether a GRANT removes the obstacle: the finding then has a command.
fn is_about_rights(found: &Finding) -> bool {
    found.command.is_some()
}

/// Limits how many sessions are ended in one [`PERIOD`].
#[derive(Debug, Default)]
struct SessionEndLimit {
    begun: Option<Instant>,
    used: u32,
}

impl SessionEndLimit {
    fn allowed(&mut self, now: Instant) -> u32 {
        if self.begun.is_none_or(|begun| now.duration_since(begun) >= PERIOD) {
            *self = Self { begun: Some(now), used: 0 };
        }
        MOST.saturating_sub(self.used)
    }

    fn used(&mut self, count: u32) {
        self.used = self.used.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_an_own_leaf_that_lives_shorter_than_those_before_makes_no_session_old() {
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let lives = |settings, own: [Duration; 3]| {
            let mut outliving = Outliving::default();
            own.map(|own| outliving.lives(&settings, own).client)
        };
        let unset = SessionSettings::default();
        assert_eq!(lives(unset, [hour, minute, 2 * hour]), [hour, hour, 2 * hour]);
        let set = SessionSettings { life: Some(minute), ..unset };
        assert_eq!(lives(set, [hour, minute, hour]), [minute; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn s07_at_most_sixty_sessions_a_minute_are_ended() {
        let (mut pace, begun) = (SessionEndLimit::default(), Instant::now());
        assert_eq!(pace.allowed(begun), MOST);
        pace.used(MOST - 1);
        assert_eq!(pace.allowed(begun + PERIOD / 2), 1);
        pace.used(1);
        assert_eq!(pace.allowed(begun + PERIOD / 2), 0);
        assert_eq!(pace.allowed(begun + PERIOD), MOST);
    }
}
