//! The connection of a session: login, statements and end. Each answer has a limit of time and of size.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::error::Error;
use super::password::read_password;
use super::patience::Patience;
use super::socket::{self, Allowance, Budget};
use super::{LIMIT, Settings};

/// The rows of an answer: the columns' texts, or `None` for NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// A connection that is logged in. It uses the simple query protocol only, which PgBouncer's console has, too.
pub(crate) struct Connection {
    client: Client,
    task: JoinHandle<()>,
    budget: Arc<Budget>,
    patience: Arc<Patience>,
    version: String,
}

impl Connection {
    /// Connects, makes sure that the right user listens, and logs in. `options` are those of the start-up packet.
    pub(super) async fn open(
        settings: &Settings,
        options: Option<String>,
        patience: Arc<Patience>,
    ) -> Result<Self, Error> {
        let login = async {
            let (stream, budget) = socket::connect(settings).await?;
            let mut config = tokio_postgres::Config::new();
            config.user(&settings.user).dbname(&settings.database).application_name("pgsvid");
            if let Some(options) = options {
                config.options(options);
            }
            // The password is read only now, when it is known which user receives it.
            if let Some(path) = &settings.password_file {
                let failed = |cause| Error::PasswordFile { path: path.clone(), cause };
                config.password(read_password(path).await.map_err(failed)?.as_slice());
            }
            let connected = config.connect_raw(stream, NoTls).await;
            let (client, connection) = connected.map_err(|error| lost(&budget, &error))?;
            Ok((client, connection, budget))
        };
        let (client, connection, budget) = patience.wait(login).await??;
        let version = connection.parameter("server_version").unwrap_or_default().to_owned();
        // The error is dropped here, because the statement that waits for an answer reports it.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, task, budget, patience, version })
    }

    /// Opens a connection to a server that takes no options, such as PgBouncer's console. [`super::BRIEF`] is the limit for
    /// everything.
    pub(crate) async fn open_briefly(settings: &Settings) -> Result<Self, Error> {
        Self::open(settings, None, Arc::new(Patience::new(super::BRIEF))).await
    }

    /// What the server calls its version: `15.18 (Debian 15.18-0+deb12u1)`, `1.18.0/bouncer`.
    pub(crate) fn server_version(&self) -> &str {
        &self.version
    }

    /// Whether it is still open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Ends the session and waits until the server has been notified.
    pub(crate) async fn close(self) {
        let Self { client, task, .. } = self;
        drop(client);
        let stuck = task.abort_handle();
        if timeout(LIMIT, task).await.is_err() {
            stuck.abort();
        }
    }

    /// Runs a statement, and returns the rows of its answer.
    pub(super) async fn rows(&self, statement: &str, allowance: Allowance) -> Result<Rows, Error> {
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

    /// Runs a statement whose answer has a few hundred short rows at most, and returns them.
    pub(crate) async fn few_rows(&self, statement: &str) -> Result<Rows, Error> {
        self.rows(statement, Allowance::FEW).await
    }
}

/// A column's text. A name from a database with another encoding need not be UTF-8.
fn value(row: &SimpleQueryRow, column: usize) -> Option<String> {
    match row.try_get(column) {
        Ok(text) => text.map(str::to_owned),
        Err(_) => Some(char::REPLACEMENT_CHARACTER.to_string()),
    }
}

/// The meaning of an error: a spent budget shows only as the end of the connection.
fn lost(budget: &Budget, error: &tokio_postgres::Error) -> Error {
    if budget.is_exceeded() { Error::TooMuch } else { Error::of(error) }
}
