//! One short-lived session. It is closed after each use: an idle one would hold up a smart shutdown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use zeroize::Zeroizing;

use super::administration::{self, Administration};
use super::error::Error;
use super::sessions::{self, SessionCounts};
use super::settings::{self, TlsSettings};
use super::standing::{self, Standing};
use super::statements::literal;
use super::views::{self, AccessViews};
use super::{LIMIT, Settings};
use crate::text::shown;

/// Longest password file that is read, in bytes.
const LONGEST_PASSWORD: u64 = 4096;

/// A logged-in session.
pub struct Session {
    client: Client,
    connection: JoinHandle<()>,
}

impl Session {
    /// Logs in, within five seconds.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&settings.host)
            .port(settings.port)
            .user(&settings.user)
            .dbname(&settings.database)
            .application_name("pgsvid");
        if let Some(path) = &settings.password_file {
            config.password(read_password(path).await?.as_slice());
        }
        let (client, connection) = timeout(LIMIT, config.connect(NoTls))
            .await
            .map_err(|_| Error::Silent(LIMIT))?
            .map_err(|error| Error::of(&error))?;
        // Its error is reported to whoever waits for an answer.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, connection })
    }

    /// What the postmaster has read of the settings that concern TLS, as a new session sees them.
    pub async fn tls_settings(&self) -> Result<TlsSettings, Error> {
        settings::parse(&self.rows(settings::QUERY).await?)
    }

    /// The errors in the files that a reload reads (postgresql.conf, `pg_hba.conf`): file, line and what is wrong.
    /// Only for a role with [`TlsSettings::may_read_errors`].
    pub async fn file_errors(&self) -> Result<Vec<String>, Error> {
        let rows = self.rows(settings::ERRORS).await?;
        Ok(rows.into_iter().flatten().flatten().map(|text| shown(&text)).collect())
    }

    /// How many sessions there are by protocol, and how many over TLS are older than `age`.
    /// Only for a role with [`TlsSettings::may_read_stats`].
    pub async fn session_counts(&self, age: Duration) -> Result<SessionCounts, Error> {
        sessions::parse(&self.rows(&sessions::query(age)).await?)
    }

    /// How the role stands in this database: asked, not tried.
    pub async fn standing(&self) -> Result<Standing, Error> {
        standing::parse(&self.rows(standing::ROLE).await?, &self.rows(standing::SETTINGS).await?)
    }

    /// `pg_hba.conf` and `pg_ident.conf` as the server reads them; `None` if the role may not see them.
    pub async fn access(&self) -> Result<Option<AccessViews>, Error> {
        let allowed = self.rows(views::ALLOWED).await?;
        let may = |view: usize| {
            let answer = allowed.first().and_then(|row| row.get(view)?.as_deref());
            answer == Some("t")
        };
        if !may(0) {
            return Ok(None);
        }
        let rules = views::rules(&self.rows(views::HBA).await?)?;
        let mut bad = views::bad_lines(&self.rows(views::HBA_ERRORS).await?);
        let mut mappings = None;
        if may(1) {
            bad.extend(views::bad_lines(&self.rows(views::IDENT_ERRORS).await?));
            mappings = Some(views::mappings(&self.rows(views::IDENT).await?)?);
        }
        Ok(Some(AccessViews { rules, mappings, bad }))
    }

    /// Every role, and whether it may log in.
    pub async fn roles(&self) -> Result<BTreeMap<String, bool>, Error> {
        let roles = administration::pairs(&self.rows(administration::ROLES).await?);
        Ok(roles.into_iter().map(|(name, may)| (name, may == "true")).collect())
    }

    /// Everything that setting the server up needs to know, for a superuser: of `role`, and of `files`, which are paths
    /// as the server sees them. `None` if we are no superuser.
    pub async fn administration(
        &self,
        role: &str,
        files: &[&Path],
    ) -> Result<Option<Administration>, Error> {
        let server = administration::pairs(&self.rows(administration::SERVER).await?);
        if server.get("is_superuser").is_none_or(|value| value != "on") {
            return Ok(None);
        }
        let manager = administration::pairs(&self.rows(administration::MANAGER).await?);
        let roles = self.roles().await?;
        let rows = self.rows(&administration::role_query(role)).await?;
        let may = |column: usize| {
            rows.first().and_then(|row| row.get(column)?.as_deref()).is_some_and(|may| may == "t")
        };
        let sees = administration::pairs(&self.rows(&administration::sees_query(files)).await?);
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
            altered: administration::pairs(&self.rows(administration::ALTERED).await?),
            superusers: administration::pairs(&self.rows(administration::SUPERUSERS).await?)
                .into_keys()
                .collect(),
            may_reload: may(0),
            has_reserve: administration::has_reserve_role(&roles).then(|| may(1)),
            roles,
            sees: sees
                .into_iter()
                .filter(|(_, seen)| seen == "true")
                .map(|(file, _)| PathBuf::from(file))
                .collect(),
        }))
    }

    /// Whether a regular expression of PostgreSQL's kind matches a text, by the server's own engine.
    pub async fn matches(&self, expression: &str, text: &str) -> Result<bool, Error> {
        let (text, expression) = (literal(text), literal(expression));
        let query = format!("SELECT {text}::text OPERATOR(pg_catalog.~) {expression}::text");
        let rows = self.rows(&query).await?;
        let matches = rows.first().and_then(|row| row.first()?.as_deref());
        matches.map(|matches| matches == "t").ok_or(Error::Unexpected)
    }

    /// Runs one statement for its effect.
    pub async fn execute(&self, statement: &str) -> Result<(), Error> {
        self.rows(statement).await.map(drop)
    }

    /// Whether the connection still stands, as far as is known here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Ends the session and waits until the server has been told.
    pub async fn close(self) {
        let Self { client, connection } = self;
        drop(client);
        let stuck = connection.abort_handle();
        if timeout(LIMIT, connection).await.is_err() {
            stuck.abort();
        }
    }

    async fn rows(&self, statement: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let messages = timeout(LIMIT, self.client.simple_query(statement))
            .await
            .map_err(|_| Error::Silent(LIMIT))?
            .map_err(|error| Error::of(&error))?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect())
    }
}

async fn read_password(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |cause| Error::PasswordFile { path: path.to_owned(), cause };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut password =
        Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST_PASSWORD).unwrap_or(0)));
    file.take(LONGEST_PASSWORD).read_to_end(&mut password).await.map_err(failed)?;
    while matches!(password.last(), Some(b'\n' | b'\r')) {
        password.pop();
    }
    Ok(password)
}
