//! A daemon in which an attacker runs code, and the contents of its memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod memory;
#[cfg(target_arch = "x86_64")]
mod taken_over;
