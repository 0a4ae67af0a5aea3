//! The commands as they are typed, and what they and the status report.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cli;
mod dumps;
mod fetch;
mod formats;
mod helper;
mod hostile_text;
mod inspect;
mod monitoring;
mod status;
