//! The admin console over the Unix socket: it has the simple query protocol only, takes no options, and knows no roles.

use std::time::Duration;

use super::settings::Settings;
use crate::sql::{self, Connection, LONGEST_SOCKET, Retry};
use pgsvid_base::text::shown;

/// Why the console could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket does not exist, or nobody listens on it.
    #[error("PgBouncer is not running")]
    NotRunning,
    /// The kernel does not let this process use the socket.
    #[error("may not connect to PgBouncer's socket: permission denied")]
    Forbidden,
    /// No answer in time.
    #[error("PgBouncer did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The connection ended before the answer came.
    #[error("the connection to PgBouncer was lost: {0}")]
    Lost(String),
    /// A user other than PgBouncer's listens on the socket; nothing was sent.
    #[error(
        "a process of uid {uid} listens on PgBouncer's socket, and that is not PgBouncer's user"
    )]
    Peer {
        /// The user ID of that process.
        uid: u32,
    },
    /// The console does not admit pgsvid, or does not let it do this.
    #[error("PgBouncer's console refuses: {0}")]
    Refused(String),
    /// No socket can have this path.
    #[error("the socket's path is longer than the {LONGEST_SOCKET} bytes that the kernel allows")]
    LongPath,
    /// The answer is not PgBouncer's.
    #[error("what listens on the socket is not PgBouncer's console")]
    Unexpected,
}

impl Error {
    /// When to retry.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotRunning | Self::Silent(_) | Self::Lost(_) => Retry::Soon,
            Self::Forbidden
            | Self::Peer { .. }
            | Self::Refused(_)
            | Self::LongPath
            | Self::Unexpected => Retry::Slowly,
        }
    }
}

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::NotRunning => Self::NotRunning,
            sql::Error::Forbidden => Self::Forbidden,
            sql::Error::Silent(limit) | sql::Error::Slow(limit) => Self::Silent(limit),
            sql::Error::Lost(why) => Self::Lost(why),
            sql::Error::Peer { uid } => Self::Peer { uid },
            sql::Error::Refused { text, .. } => Self::Refused(text),
            sql::Error::LongPath => Self::LongPath,
            // The console asks for a password if it does not know the user by the socket.
            sql::Error::NoLogin(method) => Self::Refused(method),
            _ => Self::Unexpected,
        }
    }
}

/// A session on the console.
pub struct Console {
    connection: Connection,
}

impl Console {
    /// Logs in. The console has five seconds for each answer, and 15 for all of them.
    pub async fn connect(settings: &sql::Settings) -> Result<Self, Error> {
        let connection = Connection::open_briefly(settings).await?;
        if !connection.server_version().ends_with("/bouncer") {
            connection.close().await;
            return Err(Error::Unexpected);
        }
        Ok(Self { connection })
    }

    /// Reads the files again: the ini, and certificate, key and CA towards clients. Returns PgBouncer's complaint, if it has
    /// one. Neither answer proves anything: 1.18 never complains, and 1.25 complains of an unknown key although it has loaded
    /// the certificate.
    pub async fn reload(&self) -> Result<Option<String>, Error> {
        match self.connection.few_rows("RELOAD").await {
            Ok(_) => Ok(None),
            Err(sql::Error::Refused { text, login: false, .. })
                if text.starts_with("RELOAD failed") =>
            {
                Ok(Some(text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets each connection to PostgreSQL end when it is released: the next one shows the new certificate. From 1.24 on a
    /// reload does not do that while the paths are the same.
    pub async fn reconnect(&self) -> Result<(), Error> {
        self.connection.few_rows("RECONNECT").await?;
        Ok(())
    }

    /// PgBouncer's settings that concern TLS.
    pub async fn settings(&self) -> Result<Settings, Error> {
        let version = shown(self.connection.server_version().trim_end_matches("/bouncer"));
        let rows = self.connection.few_rows("SHOW CONFIG").await?;
        Settings::parse(version, &rows).ok_or(Error::Unexpected)
    }

    /// Ends the session and waits until PgBouncer has been notified.
    pub async fn close(self) {
        self.connection.close().await;
    }
}
