//! PostgreSQL for pgsvid: the SQL session over its Unix socket, the TLS handshake, a client's login, the files that its settings name,
//! `pg_hba.conf` and `pg_ident.conf`; PgBouncer's admin console; Patroni's REST API; and the findings that follow from these facts alone.
//!
//! Of pgsvid's other parts it imports only the crates `base` and `material`. It writes no file: the paths of published files are
//! arguments.

pub mod diagnose;
pub mod login;
pub mod patroni;
pub mod pgbouncer;
pub mod sql;
pub mod survey;
pub mod verify;
