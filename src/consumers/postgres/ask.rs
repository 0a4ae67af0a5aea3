//! The part of an attempt that uses SQL: the reload, and queries about the server.

use tokio::time::Instant;

use super::login::{self, EarlyLogin, ServerAnswers};
use super::{ASKING, Postgres, Reload, Seen, report};
use crate::consumers::Delivery;
use crate::consumers::attempt::{Lifetimes, ReloadSession};
use crate::diagnose;
use crate::finding::Code;
use crate::sql::{self, Session, TlsSettings};
use crate::survey::{self, Files};

impl Postgres {
    /// One session: the reload, and the server's settings.
    pub(super) async fn reload(
        &mut self,
        delivery: &mut Delivery,
        lives: Lifetimes,
    ) -> Result<Reload, sql::Error> {
        self.pulse.step(ASKING, login::LONGEST);
        let session = EarlyLogin::finish(self.login.take(), &self.server.session).await?;
        // The address to probe is already known, so the reload is requested before any query.
        if delivery.is_owed() && self.known.is_some() {
            if let Err(error) = self.signal(delivery, &session, None).await {
                session.close().await;
                return Err(error);
            }
            return Ok(Reload { signalled: true, unasked: Some(ReloadSession { session, lives }) });
        }
        let outcome = self.ask_and_reload(delivery, &session, lives).await;
        session.close().await;
        outcome.map(|signalled| Reload { signalled, unasked: None })
    }

    async fn ask_and_reload(
        &mut self,
        delivery: &mut Delivery,
        session: &Session,
        lives: Lifetimes,
    ) -> Result<bool, sql::Error> {
        let told = login::ask(session, lives).await?;
        let seen = self.take_note(told);
        let news = self.seen.as_ref() != Some(&seen);
        if !delivery.should_reload(news, Instant::now()) {
            return Ok(false);
        }
        self.signal(delivery, session, Some(seen)).await?;
        Ok(true)
    }

    /// Requests a reload. `seen` are the server's files and settings, or `None` if they must still be queried.
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

    /// Queries what has changed at the server, closes the session, and records the answers. A server that listens at another
    /// address must be verified there at once.
    pub(in crate::consumers) async fn ask(
        &mut self,
        delivery: &mut Delivery,
        unasked: ReloadSession,
    ) {
        self.pulse.step(ASKING, login::LONGEST);
        let place = self.place();
        if let Some(told) = self.hear(unasked, delivery.is_settled()).await {
            self.take_note(told);
        }
        if self.place() != place {
            delivery.hurry(Instant::now());
        }
    }

    /// Logs what is new in the server's answers, and stores them.
    pub(super) fn take_note(&mut self, told: ServerAnswers) -> Seen {
        let ServerAnswers { settings, file_errors, sessions, replication, asking } = told;
        let files = self.files(&settings);
        self.tell_concerns(&settings, &files, asking);
        if let Some(errors) = file_errors.filter(|errors| *errors != self.file_errors) {
            report::file_errors(self.label.as_deref(), &errors);
            self.file_errors = errors;
        }
        self.sessions = sessions.or_else(|| self.sessions.take());
        self.note_replication(replication);
        self.note_rights(&settings);
        self.known = Some(settings.clone());
        // The settings that were unknown at the last handshake are known now.
        if let Some(shaken) = &mut self.shaken
            && shaken.settings.as_ref().is_none_or(|known| !known.complete)
        {
            shaken.settings = Some(settings.others.clone());
        }
        self.claim(true);
        let seen = (files, settings);
        self.seen.get_or_insert_with(|| seen.clone());
        seen
    }

    /// Logs each expression that PostgreSQL cannot compile: it does not load a map that contains one, and keeps the previous
    /// map.
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

    /// Logs the settings that keep the files from being served: at the start, and on each change.
    fn tell_concerns(&mut self, settings: &TlsSettings, files: &Files, asking: Option<u32>) {
        let first = self.known.is_none();
        let mut concerns =
            diagnose::concerns(settings, files, &self.server.paths, &self.server.session);
        for found in concerns.iter_mut().filter(|found| found.code == Code::SslSettingEmpty) {
            let line = || {
                let access = survey::access(&self.server.session, None)?;
                login::asks_for_certificates(&access.rules)
            };
            if settings.authorities.value.is_empty()
                && let Some(line) = asking.or_else(line)
            {
                *found = diagnose::unasked(found, line);
            }
        }
        if first {
            report::server(self.label.as_deref(), settings, &self.server.verify.target);
        }
        if concerns != self.concerns {
            report::concerns(self.label.as_deref(), &concerns);
            self.concerns = concerns;
        }
    }
}
