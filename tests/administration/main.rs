//! `setup`, the rows of the troubleshooting page, what `check` reports about a server, and attacks on an administrator's
//! session.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod attacks;
mod judged;
mod setup;
mod troubleshooting;
