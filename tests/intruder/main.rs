//! The daemon in the hands of somebody who runs code of their own in it, and what is in its memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod memory;
#[cfg(target_arch = "x86_64")]
mod taken_over;
