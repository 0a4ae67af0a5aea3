//! PostgreSQL for pgsvid: the SQL session over its Unix socket, the TLS handshake, a client's login, the files that its settings name,
//! `pg_hba.conf` and `pg_ident.conf`; PgBouncer's admin console; Patroni's REST API; and the findings that follow from these facts alone.
//!
//! It only knows the fingerprints of certificates, and none of the files that pgsvid writes.

pub mod diagnose;
pub mod login;
pub mod patroni;
pub mod pgbouncer;
pub mod sql;
pub mod survey;
pub mod verify;
