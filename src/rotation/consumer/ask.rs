//! One SQL session: what the server's settings are, and the reload.

use std::time::Duration;

use tokio::time::Instant;

use super::{ASKING, Consumer, SIGNAL_AGAIN};
use crate::diagnose::{self, Files};
use crate::postgres::{self, Session, TlsSettings};
use crate::rotation::report;
use crate::{reload, timing};

impl Consumer {
    /// One session: what the server's settings are, and the reload.
    pub(super) async fn reload(&mut self, life: Duration) -> (bool, Option<postgres::Error>) {
        match self.session(life).await {
            Ok(reloaded) => (reloaded, None),
            Err(error) => (false, Some(error)),
        }
    }

    async fn session(&mut self, life: Duration) -> Result<bool, postgres::Error> {
        self.pulse.step(ASKING, postgres::LIMIT);
        let session = Session::connect(&self.server.session).await?;
        let outcome = self.use_session(&session, life).await;
        self.pulse.step(ASKING, postgres::LIMIT);
        session.close().await;
        outcome
    }

    async fn use_session(
        &mut self,
        session: &Session,
        life: Duration,
    ) -> Result<bool, postgres::Error> {
        self.pulse.step(ASKING, postgres::LIMIT);
        let settings = session.tls_settings().await?;
        let files = self.files(&settings);
        self.tell_concerns(&settings, &files);
        if settings.may_read_errors {
            self.pulse.step(ASKING, postgres::LIMIT);
            let errors = session.file_errors().await?;
            if errors != self.file_errors {
                report::file_errors(&errors);
                self.file_errors = errors;
            }
        }
        if settings.may_read_stats {
            self.pulse.step(ASKING, postgres::LIMIT);
            self.sessions = Some((timing::now(), session.session_counts(life).await?));
        }
        self.known = Some(settings.clone());
        if !self.owes_reload && (self.is_settled() || !self.has_news(&files, &settings)) {
            return Ok(false);
        }
        if self.owes_role_map {
            self.try_role_map(session).await?;
        }
        self.pulse.step(ASKING, postgres::LIMIT);
        reload::postgres::reload(session).await?;
        self.owes_reload = false;
        self.owes_role_map = false;
        self.signalled = Some((Instant::now(), Some((files, settings))));
        Ok(true)
    }

    /// A map with an expression that PostgreSQL cannot compile is not read, and the one before stays in force.
    async fn try_role_map(&self, session: &Session) -> Result<(), postgres::Error> {
        for expression in self.server.role_map.iter().flatten() {
            self.pulse.step(ASKING, postgres::LIMIT);
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
}
