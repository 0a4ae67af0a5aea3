//! Attacks that were made on an earlier version and succeeded, each as a test: the rows A of docs/reliability.md.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod endless;
mod planted_objects;
mod planted_server;
mod planted_texts;
mod superuser;
mod twin_authority;
mod ways;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
