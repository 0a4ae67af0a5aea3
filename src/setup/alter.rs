//! Changes settings, and restores them if PostgreSQL does not serve the result.
//!
//! ALTER SYSTEM changes one setting at a time, and PostgreSQL does not start with an incomplete set of TLS settings. So TLS is
//! off in the file while the other settings change: PostgreSQL can be started in between. The old value of `ssl` is recorded
//! first, whether it changes or not: afterwards nobody could tell setup's "off" from somebody else's.

use std::time::Duration;

use super::Error;
use super::carry_out::Work;
use super::plan::Step;
use super::record::Change;
use super::values::{OFF, ON, SSL, setting};
use crate::sql::{Retry, Session, statements};
use crate::timing::Backoff;

/// How many times it tries to open a lost session again, with pauses that grow to two seconds.
const RECONNECT: usize = 12;

/// Settings with their values; `None` means the value in postgresql.conf.
pub(super) type Values = Vec<(String, Option<String>)>;

impl Work<'_> {
    pub(super) async fn alter(&mut self, steps: &[Step]) -> Result<(), Error> {
        let mut former = self.record.clone();
        let (mut wanted, mut back) = (Values::new(), Values::new());
        for step in steps {
            let Step::Setting { name, value, .. } = step else { continue };
            let altered = self.altered(name);
            // An earlier run of setup has recorded the original values.
            let first = former
                .settings
                .get(*name)
                .filter(|known| former.altering || Some(&known.after) == altered.as_ref())
                .map_or_else(|| altered.clone(), |known| known.before.clone());
            // Values that an interrupted run has left must not be restored.
            let before = if former.altering { first.clone() } else { altered };
            back.push(((*name).to_owned(), before));
            wanted.push(((*name).to_owned(), Some(value.clone())));
            let change = Change { before: first, after: value.clone() };
            self.record.settings.insert((*name).to_owned(), change);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        if !is_among(SSL, &wanted) {
            let ssl = self.altered(SSL);
            wanted.push((SSL.to_owned(), ssl.clone()));
            back.push((SSL.to_owned(), ssl.clone()));
            self.record.settings.entry(SSL.to_owned()).or_insert_with(|| unchanged(ssl));
        }
        self.record.altering = true;
        self.write_record()?;
        let error = match self.alter_and_prove(&wanted).await {
            Ok(proof) => {
                self.record.altering = false;
                let known = |name: &str| former.settings.contains_key(name);
                let changed = |name: &str| steps.iter().any(|step| step.alters(name));
                self.record.settings.retain(|name, _| known(name) || changed(name));
                self.write_record()?;
                (self.say)(&proof);
                return Ok(());
            }
            Err(error) => error,
        };
        // Restored after every error, because an incomplete set of settings, or files that PostgreSQL refuses, must not stay. A
        // new session is opened, because the lost one may be the error.
        let restored = match self.reconnect().await {
            Ok(()) => self.set_all(&back).await,
            Err(cause) => Err(cause),
        };
        match restored {
            Ok(()) => {
                if std::mem::take(&mut former.altering) {
                    former.settings.clear();
                }
                self.record = former;
                self.write_record()?;
                Err(Error::PutBack(Box::new(error)))
            }
            Err(cause) => {
                Err(Error::NotRestored { error: Box::new(error), cause: Box::new(cause) })
            }
        }
    }

    async fn alter_and_prove(&mut self, wanted: &Values) -> Result<String, Error> {
        self.set_all(wanted).await?;
        self.verify().await.map_err(Error::NotServed)
    }

    /// Restores the recorded values, and leaves `ssl` unchanged if it is not among them.
    pub(super) async fn take_back_settings(&mut self, settings: &Values) -> Result<(), Error> {
        let mut settings = settings.clone();
        if !is_among(SSL, &settings) {
            let ssl = self.altered(SSL);
            settings.push((SSL.to_owned(), ssl.clone()));
            self.record.settings.insert(SSL.to_owned(), unchanged(ssl));
        }
        self.record.altering = true;
        self.write_record()?;
        self.set_all(&settings).await
    }

    /// The value that ALTER SYSTEM has set, unless it is the "off" of an interrupted run.
    fn altered(&self, name: &str) -> Option<String> {
        let altered = self.server.altered.get(name).cloned();
        altered.filter(|value| !(self.record.altering && name == SSL && value == OFF))
    }

    /// Sets all settings, including `ssl`, and reloads.
    async fn set_all(&mut self, settings: &Values) -> Result<(), Error> {
        let (ssl, files): (Vec<_>, Vec<_>) = settings.iter().partition(|(name, _)| name == SSL);
        if !files.is_empty() {
            self.execute(&statements::alter_system(SSL, OFF)).await?;
        }
        for (name, value) in files.into_iter().chain(ssl) {
            self.execute(&setting(name, value.as_deref())).await?;
        }
        self.reload().await
    }

    /// Opens a new session, for work that must be done even if the old one is lost.
    async fn reconnect(&mut self) -> Result<(), Error> {
        let superuser = self.settings.session();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
        for _ in 0..RECONNECT {
            match Session::connect(&superuser).await {
                Ok(session) => {
                    std::mem::replace(&mut self.session, session).close().await;
                    return Ok(());
                }
                // A server that restarts is back soon.
                Err(error) if error.retry() == Retry::Soon => {
                    tokio::time::sleep(backoff.delay()).await;
                }
                Err(error) => return Err(Error::Examination(error)),
            }
        }
        Session::connect(&superuser)
            .await
            .map(|session| self.session = session)
            .map_err(Error::Examination)
    }
}

fn is_among(name: &str, settings: &Values) -> bool {
    settings.iter().any(|(other, _)| other == name)
}

/// The record of a setting that is only changed temporarily.
fn unchanged(value: Option<String>) -> Change {
    Change { after: value.clone().unwrap_or_else(|| ON.to_owned()), before: value }
}
