//! The part of an attempt that takes SQL: the reload, and what the server says of itself.

use std::time::Duration;

use tokio::time::Instant;

use super::login::{self, Login, Told, Unasked};
use super::{ASKING, Postgres, Reload, Seen, report};
use crate::consumers::Delivery;
use crate::diagnose;
use crate::sql::{self, Session, TlsSettings};
use crate::survey::Files;

impl Postgres {
    /// One session: the reload, and what the server's settings are.
    pub(super) async fn reload(
        &mut self,
        delivery: &mut Delivery,
        life: Duration,
    ) -> Result<Reload, sql::Error> {
        self.pulse.step(ASKING, login::LONGEST);
        let session = Login::finish(self.login.take(), &self.server.session).await?;
        // Where to look is known from before: nothing else has to be known first.
        if delivery.is_owed() && self.known.is_some() {
            if let Err(error) = self.signal(delivery, &session, None).await {
                session.close().await;
                return Err(error);
            }
            return Ok(Reload { signalled: true, unasked: Some(Unasked { session, life }) });
        }
        let outcome = self.ask_and_reload(delivery, &session, life).await;
        session.close().await;
        outcome.map(|signalled| Reload { signalled, unasked: None })
    }

    async fn ask_and_reload(
        &mut self,
        delivery: &mut Delivery,
        session: &Session,
        life: Duration,
    ) -> Result<bool, sql::Error> {
        let told = login::ask(session, life).await?;
        let seen = self.take_note(told);
        let news = self.seen.as_ref() != Some(&seen);
        if !delivery.should_reload(news, Instant::now()) {
            return Ok(false);
        }
        self.signal(delivery, session, Some(seen)).await?;
        Ok(true)
    }

    /// SIGHUP. `seen` is what the server's files and settings are, or `None` if that is still to be asked.
    async fn signal(
        &mut self,
        delivery: &mut Delivery,
        session: &Session,
        seen: Option<Seen>,
    ) -> Result<(), sql::Error> {
        if delivery.needs_reload_as_proof() {
            self.try_role_map(session).await?;
        }
        session.reload().await?;
        delivery.reloaded(Instant::now());
        self.seen = seen;
        Ok(())
    }

    /// Asks what is new on the server, leaves, and takes note. A server that listens elsewhere is to be verified there
    /// at once.
    pub(in crate::consumers) async fn ask(&mut self, delivery: &mut Delivery, unasked: Unasked) {
        self.pulse.step(ASKING, login::LONGEST);
        let place = self.place();
        if let Some(told) = unasked.told().await {
            self.take_note(told);
        }
        if self.place() != place {
            delivery.hurry(Instant::now());
        }
    }

    /// Says what is new in what the server says of itself, and keeps it.
    pub(super) fn take_note(&mut self, told: Told) -> Seen {
        let Told { settings, file_errors, sessions } = told;
        let files = self.files(&settings);
        self.tell_concerns(&settings, &files);
        if let Some(errors) = file_errors.filter(|errors| *errors != self.file_errors) {
            report::file_errors(self.label.as_deref(), &errors);
            self.file_errors = errors;
        }
        self.sessions = sessions.or_else(|| self.sessions.take());
        self.known = Some(settings.clone());
        let seen = (files, settings);
        self.seen.get_or_insert_with(|| seen.clone());
        seen
    }

    /// A map with an expression that PostgreSQL cannot compile is not read, and the one before stays in force.
    async fn try_role_map(&self, session: &Session) -> Result<(), sql::Error> {
        for expression in self.server.role_map.iter().flatten() {
            match session.first_match(expression, &[""]).await {
                Err(error) if error.is_about_an_expression() => {
                    report::unreadable_map(self.label.as_deref(), expression, &error);
                }
                tried => drop(tried?),
            }
        }
        Ok(())
    }

    /// Says what in the settings will keep the files from being served: at start, and when it changes.
    fn tell_concerns(&mut self, settings: &TlsSettings, files: &Files) {
        let first = self.known.is_none();
        let concerns =
            diagnose::concerns(settings, files, &self.server.paths, &self.server.session);
        if first {
            report::server(self.label.as_deref(), settings, &self.server.verify.target);
        }
        if concerns != self.concerns {
            report::concerns(self.label.as_deref(), &concerns);
            self.concerns = concerns;
        }
    }
}
