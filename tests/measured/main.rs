//! Long tests and measurements: each has a script of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cost;
mod drivers;
mod patroni;
mod soak;

/// For the tests that keep all processors busy, one after the other: their clients have time-outs.
pub(crate) static BUSY: std::sync::Mutex<()> = std::sync::Mutex::new(());
