//! The SQL session of a rotation. Logging in takes PostgreSQL longer than anything else that is asked of it, so it begins
//! while the files are still being written and synced; what is not needed for the reload is asked after the handshake that
//! proves it, since the backends that answer both share the machine's processors.

use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::sql::{self, Error, Session, SessionCounts, TlsSettings};
use crate::timing;

/// How long an open session may wait, for files that are being written or for a handshake: it holds up a smart shutdown.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// How long a session may take, its farewell included.
pub(super) const LONGEST: Duration = sql::BRIEF.saturating_add(sql::LIMIT);

/// A login that has begun. An open session that nobody takes is closed after [`IDLE`], and a dropped login is given up.
pub(super) struct Login {
    task: AbortOnDropHandle<Result<Session, Error>>,
    take: oneshot::Sender<()>,
}

impl Login {
    /// Begins to log in.
    pub(super) fn begin(settings: sql::Settings) -> Self {
        let (take, taken) = oneshot::channel();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let session = Session::connect_briefly(&settings).await?;
            if let Ok(Ok(())) = timeout(IDLE, taken).await {
                return Ok(session);
            }
            // Nobody has come for it.
            session.close().await;
            Err(Error::NotRunning)
        }));
        Self { task, take }
    }

    /// The session. One that was begun before the server was there, or was lost or closed since, is tried anew.
    pub(super) async fn finish(
        login: Option<Self>,
        settings: &sql::Settings,
    ) -> Result<Session, Error> {
        if let Some(Self { task, take }) = login {
            // One that has failed already takes nothing, and says why.
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

/// What the server says of itself.
pub(super) struct Told {
    pub(super) settings: TlsSettings,
    /// Errors in the files that a reload reads, if the role may see them.
    pub(super) file_errors: Option<Vec<String>>,
    /// How many sessions there are, if the role may see them.
    pub(super) sessions: Option<(SystemTime, SessionCounts)>,
}

/// Asks for whatever the role may know; `life` is that of a leaf.
pub(super) async fn ask(session: &Session, life: Duration) -> Result<Told, Error> {
    let settings = session.tls_settings().await?;
    let file_errors =
        if settings.may_read_errors { Some(session.file_errors().await?) } else { None };
    let sessions = if settings.may_read_stats {
        Some((timing::now(), session.session_counts(life).await?))
    } else {
        None
    };
    Ok(Told { settings, file_errors, sessions })
}

/// A session over which a reload was asked for, and nothing else yet; the life is that of the leaf.
pub(crate) struct Unasked {
    pub(super) session: Session,
    pub(super) life: Duration,
}

impl Unasked {
    /// What the server says of itself, if it does; the session is closed.
    pub(super) async fn told(self) -> Option<Told> {
        let told = ask(&self.session, self.life).await.ok();
        self.session.close().await;
        told
    }
}
