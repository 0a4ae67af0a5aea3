//! PostgreSQL: `pg_reload_conf()` sends SIGHUP to the postmaster.

use crate::postgres::{Error, Session};

/// Asks the postmaster to reload.
///
/// It returns true even when PostgreSQL refuses the files, so its result is not looked at
/// (PostgreSQL: `src/backend/storage/ipc/signalfuncs.c`).
pub async fn reload(session: &Session) -> Result<(), Error> {
    session.execute("SELECT pg_catalog.pg_reload_conf()").await
}
