//! `pgsvid run` beside a real PostgreSQL: rotations, what hinders them, and what is said of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod authorities;
mod clocks;
mod diagnosis;
mod foreign_files;
mod hba_lines;
mod lifecycle;
mod mixed_reloads;
mod parent;
mod probe;
mod process;
mod refused;
mod rotations;
mod server_answers;
mod server_faults;
mod server_logins;
mod server_sessions;
mod server_states;
mod several;
