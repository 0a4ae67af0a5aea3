//! pgsvid keeps PostgreSQL's TLS certificates fresh from the SPIFFE Workload API, and proves that they are served.
//!
//! `ARCHITECTURE.md` lists the rooms and their dependencies.

pub mod cli;
pub mod companions;
pub mod config;
pub mod consumers;
pub mod daemon;
pub mod doctor;
pub mod hooks;
pub mod http;
pub mod kubernetes;
pub mod parent;
pub mod publish;
pub mod resolve;
pub mod rotation;
pub mod sandbox;
pub mod setup;
pub mod source;
pub mod status;
pub mod telemetry;
pub mod tokens;
pub mod watching;

pub use pgsvid_base::{entries, files, finding, key_mode, text, threads, timing, users};
pub use pgsvid_material as material;
pub use pgsvid_postgres::{diagnose, login, patroni, pgbouncer, sql, survey, verify};
