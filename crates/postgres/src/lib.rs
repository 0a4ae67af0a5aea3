//! PostgreSQL as pgsvid sees it: the SQL session over its Unix socket, the TLS handshake and what it shows, the files that its
//! settings name, `pg_hba.conf` and `pg_ident.conf`; and, from these facts alone, what is wrong and what fixes it.
//!
//! It knows certificates by their fingerprints, and none of the files that pgsvid writes.

pub mod diagnose;
pub mod sql;
pub mod survey;
pub mod verify;
