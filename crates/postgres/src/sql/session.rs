//! One short-lived session. It is closed after each use, because an idle session would delay a smart shutdown.
//!
//! It begins with the settings of [`super::startup`], so that every unqualified name is looked up in `pg_catalog`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::connection::Connection;
use super::error::Error;
use super::patience::Patience;
use super::socket::Allowance;
use super::startup;
use super::statements;
use super::{BRIEF, LONG, Purpose, Settings};
use pgsvid_base::text::shown;

/// Sessions that refused the options of [`startup::options_from_17`]: the socket's directory, its port, and the role. Each is tried
/// once, because each refusal is a line in the server's log. Another server, or another role, may accept the options.
static REFUSED: Mutex<BTreeSet<(PathBuf, u16, String)>> = Mutex::new(BTreeSet::new());

/// A logged-in session.
pub struct Session {
    connection: Connection,
    /// The server's major version.
    pub(super) version: u32,
    /// Whether event triggers are turned off by `session_replication_role`.
    as_a_replica: bool,
}

impl Session {
    /// Logs in. The server has five seconds for the login and for each answer, and a minute for all of them.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        Self::connect_within(settings, LONG).await
    }

    /// Logs in, with [`BRIEF`] as the limit for the login and all answers together.
    ///
    /// [`BRIEF`]: super::BRIEF
    pub async fn connect_briefly(settings: &Settings) -> Result<Self, Error> {
        Self::connect_within(settings, BRIEF).await
    }

    async fn connect_within(settings: &Settings, all: Duration) -> Result<Self, Error> {
        let patience = Arc::new(Patience::new(all));
        let token = format!("{:016x}", fastrand::u64(..));
        let mut session = match settings.purpose {
            Purpose::Reload => Self::log_in(settings, startup::options(&token), patience).await?,
            Purpose::Administration => {
                Self::log_in_as_administrator(settings, &token, patience).await?
            }
        };
        match session.prepare(settings, &token).await {
            Ok(()) => Ok(session),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// Logs in with `event_triggers = off`. If the server refuses that option, logs in without it: versions before 17 do not
    /// know it, and only a superuser may set it.
    async fn log_in_as_administrator(
        settings: &Settings,
        token: &str,
        patience: Arc<Patience>,
    ) -> Result<Self, Error> {
        let refused = || REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let server = (settings.host.clone(), settings.port, settings.user.clone());
        if !refused().contains(&server) {
            let options = startup::options_from_17(token);
            match Self::log_in(settings, options, Arc::clone(&patience)).await {
                Err(error) if error.is_about_an_option() => {
                    refused().insert(server);
                }
                outcome => return outcome,
            }
        }
        Self::log_in(settings, startup::options(token), patience).await
    }

    async fn log_in(
        settings: &Settings,
        options: String,
        patience: Arc<Patience>,
    ) -> Result<Self, Error> {
        let connection = Connection::open(settings, Some(options), patience).await?;
        let version = connection.server_version();
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let version = major.parse().map_err(|_| Error::Unexpected)?;
        Ok(Self { connection, version, as_a_replica: false })
    }

    /// Makes sure that the session has the right settings before anything else is sent.
    async fn prepare(&mut self, settings: &Settings, token: &str) -> Result<(), Error> {
        if self.version >= startup::HAS_EVENT_TRIGGERS {
            self.without_triggers_from_17(settings).await?;
            self.rows(startup::NO_TRANSACTION_TIMEOUT, Allowance::FEW).await?;
        }
        let rows = self.rows(startup::IN_FORCE, Allowance::FEW).await?;
        let row: Vec<Option<&str>> =
            rows.first().into_iter().flatten().map(Option::as_deref).collect();
        let [Some(""), Some("none"), Some(found), Some(superuser), Some(port)] = row[..] else {
            return Err(Error::Unexpected);
        };
        if found != token {
            return Err(Error::Unexpected);
        }
        // The socket is a link to another server's socket, or a program forwards it to another server.
        if port.parse() != Ok(settings.port) {
            return Err(Error::OtherPort { port: shown(port) });
        }
        let is_superuser = superuser == "on";
        if settings.purpose == Purpose::Administration
            && is_superuser
            && self.version < startup::HAS_EVENT_TRIGGERS
        {
            self.rows(startup::AS_A_REPLICA, Allowance::FEW).await?;
            self.as_a_replica = true;
        }
        if is_superuser
            && let Some([Some(kind), Some(name), Some(owner)]) =
                self.rows(startup::PLANTED, Allowance::FEW).await?.first().map(Vec::as_slice)
        {
            let (statement, owner) = (format!("DROP {kind} {name}"), shown(owner));
            return Err(Error::Planted { statement, owner });
        }
        Ok(())
    }

    /// Fails if a superuser's session of [`Purpose::Administration`] began with event triggers.
    async fn without_triggers_from_17(&self, settings: &Settings) -> Result<(), Error> {
        if settings.purpose != Purpose::Administration {
            return Ok(());
        }
        let rows = self.rows(startup::EVENT_TRIGGERS, Allowance::FEW).await?;
        match rows.first().map(Vec::as_slice) {
            Some([Some(superuser), Some(triggers)]) if superuser == "off" || triggers == "off" => {
                Ok(())
            }
            // The options were refused by another server at this socket, or by a role that was no superuser then.
            _ => {
                REFUSED.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Err(Error::Unexpected)
            }
        }
    }

    /// Runs one statement for its effect. With [`Purpose::Administration`] it runs no event trigger.
    pub async fn execute(&self, statement: &str) -> Result<(), Error> {
        self.without_event_triggers(statement).await?;
        // One after the other: ALTER SYSTEM runs neither in a transaction nor in a batch.
        self.rows("SET default_transaction_read_only = off", Allowance::FEW).await?;
        let outcome = self.rows(statement, Allowance::FEW).await;
        self.rows("SET default_transaction_read_only = on", Allowance::FEW).await?;
        outcome.map(drop)
    }

    /// Fails if the statement would run an event trigger.
    pub(super) async fn without_event_triggers(&self, statement: &str) -> Result<(), Error> {
        if self.as_a_replica
            && statements::fires_event_triggers(statement)
            && let Some([Some(name), ..]) =
                self.rows(startup::TRIGGERS_LEFT, Allowance::FEW).await?.first().map(Vec::as_slice)
        {
            return Err(Error::EventTrigger { name: shown(name) });
        }
        Ok(())
    }

    /// Asks the postmaster to read its files again.
    ///
    /// `pg_reload_conf()` sends SIGHUP, and returns true even when PostgreSQL refuses the files, so its result is ignored
    /// (PostgreSQL: `src/backend/storage/ipc/signalfuncs.c`). Only a handshake shows the result.
    pub async fn reload(&self) -> Result<(), Error> {
        self.execute("SELECT pg_catalog.pg_reload_conf()").await
    }

    /// Whether the connection is still open, as far as this side knows.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Ends the session and waits until the server has been notified.
    pub async fn close(self) {
        self.connection.close().await;
    }

    pub(super) async fn rows(
        &self,
        statement: &str,
        allowance: Allowance,
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.connection.rows(statement, allowance).await
    }
}
