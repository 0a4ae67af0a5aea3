//! `pgsvid run` with a real PostgreSQL: rotations, what prevents them, and how that is reported.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod alerts;
mod authorities;
mod certificates;
mod clocks;
mod diagnosis;
mod foreign_files;
mod hba_lines;
mod hooks;
mod lifecycle;
mod linked_authorities;
mod mixed_reloads;
mod names;
mod outliving_sessions;
mod parent;
mod patroni;
mod pgbouncer;
mod probe;
mod process;
mod refused;
mod reload_answers;
mod replication;
mod rotations;
mod served;
mod server_answers;
mod server_faults;
mod server_logins;
mod server_sessions;
mod server_states;
mod several;
mod unspoken;
