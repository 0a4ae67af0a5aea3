//! The environments of pgsvid: pods, packages, units and images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kubernetes;
mod packaging;
