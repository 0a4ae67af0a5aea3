//! The SQL session of a rotation. Logging in takes PostgreSQL longer than any query, so it begins while the files are still
//! being written and synced. What the reload does not need is queried after the handshake that proves the reload, because the
//! backends of the session and of the handshake share the machine's processors.

use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::consumers::attempt::{Lifetimes, ReloadSession};
use crate::sql::{self, Error, HbaRule, Replication, Session, SessionCounts, TlsSettings};
use crate::timing;

/// How long an open session may wait for files or for a handshake: it delays a smart shutdown.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// How long a session may take, including its end.
pub(super) const LONGEST: Duration = sql::BRIEF.saturating_add(sql::LIMIT);

/// A login in progress. An unused session is closed after [`IDLE`], and a dropped login is cancelled.
pub(super) struct EarlyLogin {
    task: AbortOnDropHandle<Result<Session, Error>>,
    take: oneshot::Sender<()>,
}

impl EarlyLogin {
    /// Begins to log in.
    pub(super) fn begin(settings: sql::Settings) -> Self {
        let (take, taken) = oneshot::channel();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let session = Session::connect_briefly(&settings).await?;
            if let Ok(Ok(())) = timeout(IDLE, taken).await {
                return Ok(session);
            }
            // The session was not used in time.
            session.close().await;
            Err(Error::NotRunning)
        }));
        Self { task, take }
    }

    /// The session. If it was begun before the server ran, or was lost or closed since, another login is tried.
    pub(super) async fn finish(
        login: Option<Self>,
        settings: &sql::Settings,
    ) -> Result<Session, Error> {
        if let Some(Self { task, take }) = login {
            // The login may have failed already: then its result says why.
            let _ = take.send(());
            match task.await {
                Ok(Ok(session)) if session.is_open() => return Ok(session),
                Ok(Err(error)) if !matches!(error, Error::NotRunning) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Session::connect_briefly(settings).await
    }
}

/// The server's answers.
pub(super) struct ServerAnswers {
    pub(super) settings: TlsSettings,
    /// Errors in the files that a reload reads, if the role may see them.
    pub(super) file_errors: Option<Vec<String>>,
    /// The number of sessions, if the role may see them.
    pub(super) sessions: Option<(SystemTime, SessionCounts)>,
    /// Its replication connections, if the role may see them.
    pub(super) replication: Option<(SystemTime, Replication)>,
    /// The first line of `pg_hba.conf` that requires a client certificate, if PostgreSQL asks for none and the role may see the line.
    pub(super) asking: Option<u32>,
}

/// Queries everything that the role may see.
pub(super) async fn ask(session: &Session, lives: Lifetimes) -> Result<ServerAnswers, Error> {
    let settings = session.tls_settings().await?;
    let file_errors =
        if settings.may_read_errors { Some(session.file_errors().await?) } else { None };
    let sessions = if settings.may_read_stats {
        Some((timing::now(), session.session_counts(lives.own, lives.client).await?))
    } else {
        None
    };
    let replication = if settings.may_read_stats {
        // An administrator may have closed one of its views to the role, which is no reason to know less of the rest.
        session.replication().await.ok().map(|seen| (timing::now(), seen))
    } else {
        None
    };
    let mut asking = None;
    if settings.authorities.value.is_empty() {
        let views = session.access().await.ok().flatten();
        asking = views.and_then(|views| asks_for_certificates(&views.rules));
    }
    Ok(ServerAnswers { settings, file_errors, sessions, replication, asking })
}

/// The number of the first line that admits nobody without a certificate.
pub(super) fn asks_for_certificates(rules: &[HbaRule]) -> Option<u32> {
    rules.iter().find(|rule| rule.matches_tls() && rule.wants_certificate()).map(|rule| rule.line)
}

/// The server's answers over a session that is still open, if there are any; closes it.
pub(super) async fn told(ReloadSession { session, lives }: ReloadSession) -> Option<ServerAnswers> {
    let told = ask(&session, lives).await.ok();
    session.close().await;
    told
}
