//! Rows W: what an agent may do, and how it affects the published set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod absence;
mod absurd;
mod connections;
mod exchangeable;
mod flood;
mod messages;
mod place;
mod raw;
mod refusals;
mod selection;
mod state;
mod tokens;
mod unrenewed;
mod volume;
mod wordy;
