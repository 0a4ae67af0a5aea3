//! `setup`, the rows of the troubleshooting page, and attacks on an administrator's session.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod attacks;
mod setup;
mod troubleshooting;
