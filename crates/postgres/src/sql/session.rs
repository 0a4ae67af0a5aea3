//! One short-lived session. It is closed after each use: an idle one would hold up a smart shutdown.
//!
//! It begins with the settings of [`super::startup`], which make every name that is not qualified one of `pg_catalog`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};
use zeroize::Zeroizing;

use super::administration::{self, Administration, MOST_SUPERUSERS, Role, Superuser};
use super::error::Error;
use super::patience::Patience;
use super::sessions::{self, SessionCounts};
use super::settings::{self, TlsSettings};
use super::socket::{self, Allowance, Budget};
use super::standing::{self, Standing};
use super::startup;
use super::statements::{self, RESERVE, literal};
use super::views::{self, AccessViews};
use super::{BRIEF, LIMIT, LONG, Purpose, Settings};
use pgsvid_base::files;
use pgsvid_base::text::shown;

/// Longest password file that is read, in bytes.
const LONGEST_PASSWORD: u64 = 4096;
/// How many roles are asked for at once.
const MOST_NAMES: usize = 500;

/// A logged-in session.
pub struct Session {
    client: Client,
    connection: JoinHandle<()>,
    budget: Arc<Budget>,
    patience: Arc<Patience>,
    /// The server's major version.
    version: u32,
    /// Event triggers are turned off by posing as a replica.
    as_a_replica: bool,
}

impl Session {
    /// Logs in. The server has five seconds for that, and for each answer, and a minute for all of them.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        Self::connect_within(settings, LONG).await
    }

    /// The same with [`BRIEF`] for all of them, logging in included.
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

    /// Without event triggers, where there are any at a login and the role may turn them off. That it may not, or that the
    /// server knows none, is known from its refusal alone.
    async fn log_in_as_administrator(
        settings: &Settings,
        token: &str,
        patience: Arc<Patience>,
    ) -> Result<Self, Error> {
        // Asked once: each refusal is a line in the server's log.
        static REFUSED: AtomicBool = AtomicBool::new(false);
        if !REFUSED.load(Ordering::Relaxed) {
            let options = startup::options_from_17(token);
            match Self::log_in(settings, options, Arc::clone(&patience)).await {
                Err(error) if error.is_about_an_option() => REFUSED.store(true, Ordering::Relaxed),
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
        let login = async {
            let (stream, budget) = socket::connect(settings).await?;
            let mut config = tokio_postgres::Config::new();
            config
                .user(&settings.user)
                .dbname(&settings.database)
                .application_name("pgsvid")
                .options(options);
            // Only now: it is known who would be told.
            if let Some(path) = &settings.password_file {
                config.password(read_password(path).await?.as_slice());
            }
            let connected = config.connect_raw(stream, NoTls).await;
            let (client, connection) = connected.map_err(|error| lost(&budget, &error))?;
            Ok((client, connection, budget))
        };
        let (client, connection, budget) = patience.wait(login).await??;
        let version = connection.parameter("server_version").unwrap_or_default();
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let version = major.parse().map_err(|_| Error::Unexpected)?;
        // Its error is reported to the statement that waits for an answer.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, connection, budget, patience, version, as_a_replica: false })
    }

    /// Makes sure that the session is as it should be before anything else is asked.
    async fn prepare(&mut self, settings: &Settings, token: &str) -> Result<(), Error> {
        if self.version >= startup::HAS_EVENT_TRIGGERS {
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
        // The socket is a link to another server's, or passed on from one.
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
        Ok(())
    }

    /// What the postmaster has read of the settings that concern TLS, as a new session sees them.
    pub async fn tls_settings(&self) -> Result<TlsSettings, Error> {
        settings::parse(&self.rows(settings::QUERY, Allowance::FEW).await?)
    }

    /// The errors in the files that a reload reads (postgresql.conf, `pg_hba.conf`), some of them if there are many: file, line
    /// and what is wrong.
    /// Only for a role with [`TlsSettings::may_read_errors`].
    pub async fn file_errors(&self) -> Result<Vec<String>, Error> {
        let rows = self.rows(settings::ERRORS, Allowance::FEW).await?;
        Ok(rows.into_iter().flatten().flatten().map(|text| shown(&text)).collect())
    }

    /// What keeps the server from loading its configuration files; settings that only wait for a restart do not.
    /// Only for a role with [`TlsSettings::may_read_errors`].
    pub async fn configuration_errors(&self) -> Result<Vec<String>, Error> {
        let rows = self.rows(settings::CONFIGURATION_ERRORS, Allowance::FEW).await?;
        Ok(rows.into_iter().flatten().flatten().map(|text| shown(&text)).collect())
    }

    /// How many sessions there are by protocol, and how many over TLS are older than `age`.
    /// Only for a role with [`TlsSettings::may_read_stats`].
    pub async fn session_counts(&self, age: Duration) -> Result<SessionCounts, Error> {
        sessions::parse(&self.rows(&sessions::query(age), Allowance::FEW).await?)
    }

    /// How the role stands in this database: asked, not tried.
    pub async fn standing(&self) -> Result<Standing, Error> {
        let mut loaded = self.rows(standing::LOADED, Allowance::FEW).await?;
        let role = self.rows(standing::ROLE, Allowance::FEW).await?;
        let is_superuser = role.first().and_then(|row| row.get(1)?.as_deref()) == Some("t");
        if is_superuser {
            loaded.extend(self.rows(standing::CHANGED, Allowance::FEW).await?);
        }
        standing::parse(&role, &self.rows(standing::SETTINGS, Allowance::FEW).await?, &loaded)
    }

    /// `pg_hba.conf` and `pg_ident.conf` as the server reads them; `None` if the role may not see them.
    pub async fn access(&self) -> Result<Option<AccessViews>, Error> {
        let allowed = self.rows(views::ALLOWED, Allowance::FEW).await?;
        let may = |view: usize| {
            let answer = allowed.first().and_then(|row| row.get(view)?.as_deref());
            answer == Some("t")
        };
        if !may(0) {
            return Ok(None);
        }
        let rules = views::rules(&self.rows(views::HBA, Allowance::LISTS).await?)?;
        let mut bad = views::bad_lines(&self.rows(views::HBA_ERRORS, Allowance::LISTS).await?);
        let mut mappings = None;
        if may(1) {
            bad.extend(views::bad_lines(&self.rows(views::IDENT_ERRORS, Allowance::LISTS).await?));
            mappings = Some(views::mappings(&self.rows(views::IDENT, Allowance::LISTS).await?)?);
        }
        Ok(Some(AccessViews { rules, mappings, bad }))
    }

    /// Those of the roles that exist.
    pub async fn roles(&self, names: &[&str]) -> Result<BTreeMap<String, Role>, Error> {
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_NAMES) {
            let rows = self.rows(&administration::roles_query(names), Allowance::FEW).await?;
            found.extend(administration::roles(&rows));
        }
        Ok(found)
    }

    /// Those of the groups that a role is a member of, directly or not; superusers count for no member (PostgreSQL: `hba.c`,
    /// `is_member`).
    pub async fn groups(&self, role: &str, groups: &[&str]) -> Result<Vec<String>, Error> {
        let names: Vec<String> = groups.iter().map(|name| literal(name)).collect();
        let role = literal(role);
        let query = format!(
            "WITH RECURSIVE own (oid) AS ( \
                 SELECT oid FROM pg_catalog.pg_roles WHERE rolname = {role} \
                 UNION SELECT m.roleid FROM own JOIN pg_catalog.pg_auth_members m ON m.member = own.oid) \
             SELECT r.rolname FROM own JOIN pg_catalog.pg_roles r ON r.oid = own.oid \
              WHERE r.rolname OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.text[])",
            names.join(", ")
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        Ok(rows.into_iter().filter_map(|mut row| row.pop().flatten()).collect())
    }

    /// Roles that log in and may do everything, or may make themselves such, and whether there are more.
    pub async fn superusers(&self) -> Result<(Vec<Superuser>, bool), Error> {
        let rows =
            self.rows(&administration::superusers_query(self.version), Allowance::FEW).await?;
        let mut names = administration::superusers(&rows);
        let more = names.len() > MOST_SUPERUSERS;
        names.truncate(MOST_SUPERUSERS);
        Ok((names, more))
    }

    /// Everything that setting the server up needs to know, for a superuser: of `role` and of `others`, which are roles of
    /// workloads, and of `files`, which are paths as the server sees them. `None` if we are no superuser.
    pub async fn administration(
        &self,
        role: &str,
        others: &[&str],
        files: &[&Path],
    ) -> Result<Option<Administration>, Error> {
        let server =
            administration::pairs(&self.rows(administration::SERVER, Allowance::FEW).await?);
        if server.get("is_superuser").is_none_or(|value| value != "on") {
            return Ok(None);
        }
        let manager =
            administration::pairs(&self.rows(administration::MANAGER, Allowance::FEW).await?);
        let mut roles = self.roles(&[others, &[role, RESERVE]].concat()).await?;
        // From 16 on the server has it.
        let has_reserve_role = roles.remove(RESERVE).is_some();
        let related = self.rows(&administration::related_query(role), Allowance::FEW).await?;
        let rows = self.rows(&administration::role_query(role), Allowance::FEW).await?;
        let may = |column: usize| {
            rows.first().and_then(|row| row.get(column)?.as_deref()).is_some_and(|may| may == "t")
        };
        let sees = administration::pairs(
            &self.rows(&administration::sees_query(files), Allowance::FEW).await?,
        );
        Ok(Some(Administration {
            tls: self.tls_settings().await?,
            data_directory: administration::path(&server, "data_directory")?,
            hba_file: administration::path(&server, "hba_file")?,
            ident_file: administration::path(&server, "ident_file")?,
            started: server
                .get("started")
                .and_then(|text| text.parse().ok())
                .ok_or(Error::Unexpected)?,
            in_recovery: server.get("recovery").is_some_and(|value| value == "true"),
            manager: administration::manager(&server, &manager),
            altered: administration::pairs(
                &self.rows(administration::ALTERED, Allowance::LISTS).await?,
            ),
            may_reload: may(0),
            has_reserve: has_reserve_role.then(|| may(1)),
            roles,
            related: administration::related(&related),
            sees: sees
                .into_iter()
                .filter(|(_, seen)| seen == "true")
                .map(|(file, _)| PathBuf::from(file))
                .collect(),
        }))
    }

    /// The first of these names that a regular expression of PostgreSQL's kind matches, by the server's own engine and with the
    /// collation of its `pg_ident.conf` (`hba.c`, `regcomp_auth_token`).
    pub async fn first_match(
        &self,
        expression: &str,
        names: &[&str],
    ) -> Result<Option<String>, Error> {
        let (names, expression) = (
            names.iter().copied().map(literal).collect::<Vec<_>>().join(", "),
            literal(expression),
        );
        let query = format!(
            "SELECT name FROM pg_catalog.unnest(ARRAY[{names}]::pg_catalog.text[]) WITH ORDINALITY AS known (name, place) \
              WHERE name OPERATOR(pg_catalog.~) {expression}::pg_catalog.text COLLATE pg_catalog.\"C\" ORDER BY place LIMIT 1"
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        Ok(rows.into_iter().next().and_then(|mut row| row.pop()).flatten())
    }

    /// What `\1` stands for where a regular expression of PostgreSQL's kind matches a text, or the whole match if the
    /// expression has no parentheses; `None` if it does not match.
    pub async fn first_part(&self, expression: &str, text: &str) -> Result<Option<String>, Error> {
        let (text, expression) = (literal(text), literal(expression));
        let query = format!(
            "SELECT (pg_catalog.regexp_match({text}::pg_catalog.text, {expression}::pg_catalog.text COLLATE pg_catalog.\"C\"))[1]"
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        rows.into_iter().next().and_then(|mut row| row.pop()).ok_or(Error::Unexpected)
    }

    /// Runs one statement for its effect. With [`Purpose::Administration`] no event trigger runs by it.
    pub async fn execute(&self, statement: &str) -> Result<(), Error> {
        self.without_event_triggers(statement).await?;
        // One after the other: ALTER SYSTEM runs in no transaction and no batch.
        self.rows("SET default_transaction_read_only = off", Allowance::FEW).await?;
        let outcome = self.rows(statement, Allowance::FEW).await;
        self.rows("SET default_transaction_read_only = on", Allowance::FEW).await?;
        outcome.map(drop)
    }

    /// Fails if an event trigger would run by the statement.
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
    /// `pg_reload_conf()` sends SIGHUP, and returns true even when PostgreSQL refuses the files, so its result is not
    /// looked at (PostgreSQL: `src/backend/storage/ipc/signalfuncs.c`). Only a handshake tells.
    pub async fn reload(&self) -> Result<(), Error> {
        self.execute("SELECT pg_catalog.pg_reload_conf()").await
    }

    /// Whether the connection still stands, as far as is known here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Ends the session and waits until the server has been told.
    pub async fn close(self) {
        let Self { client, connection, .. } = self;
        drop(client);
        let stuck = connection.abort_handle();
        if timeout(LIMIT, connection).await.is_err() {
            stuck.abort();
        }
    }

    pub(super) async fn rows(
        &self,
        statement: &str,
        allowance: Allowance,
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.budget.renew(allowance);
        let answer = async {
            let mut messages = pin!(self.client.simple_query_raw(statement).await?);
            let mut rows = Vec::new();
            while let Some(message) = messages.next().await {
                if let SimpleQueryMessage::Row(row) = message? {
                    rows.push((0..row.len()).map(|column| value(&row, column)).collect());
                }
            }
            Ok(rows)
        };
        self.patience.wait(answer).await?.map_err(|error| lost(&self.budget, &error))
    }
}

/// A column's text. A name that was given in a database of another encoding need not be UTF-8.
fn value(row: &SimpleQueryRow, column: usize) -> Option<String> {
    match row.try_get(column) {
        Ok(text) => text.map(str::to_owned),
        Err(_) => Some(char::REPLACEMENT_CHARACTER.to_string()),
    }
}

/// What an error means: of one that the budget brought about only the end of the connection is seen.
fn lost(budget: &Budget, error: &tokio_postgres::Error) -> Error {
    if budget.is_exceeded() { Error::TooMuch } else { Error::of(error) }
}

async fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |cause| Error::PasswordFile { path: path.to_owned(), cause };
    let named = path.to_owned();
    // It may be anything, on a file system that takes its time.
    let read = tokio::task::spawn_blocking(move || files::read(&named, LONGEST_PASSWORD));
    let mut password =
        read.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
    while matches!(password.last(), Some(b'\n' | b'\r')) {
        password.pop();
    }
    Ok(password)
}
