use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};

/// A pool that takes each new certificate within a second. Host, port, user and database come from PGHOST, PGPORT, PGUSER and
/// PGDATABASE.
pub fn open_pool(files: PathBuf, lifetime: Duration) -> io::Result<PgPool> {
    let pool = PgPoolOptions::new().max_lifetime(lifetime).connect_lazy_with(newest(&files)?);
    let renewed = pool.clone();
    tokio::spawn(async move {
        while !renewed.is_closed() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Ok(options) = newest(&files) {
                renewed.set_connect_options(options);
            }
        }
    });
    Ok(pool)
}

/// The three files in one directory, so that they are of one rotation. pgsvid keeps that directory for a minute at least.
fn newest(files: &Path) -> io::Result<PgConnectOptions> {
    let current = files.join("..data").canonicalize()?;
    Ok(PgConnectOptions::new()
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_client_cert(current.join("svid.pem"))
        .ssl_client_key(current.join("svid_key.pem"))
        .ssl_root_cert(current.join("svid_bundle.pem")))
}
