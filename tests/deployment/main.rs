//! The environments of pgsvid: pods, charts, packages, units and images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod chart;
mod kubernetes;
mod packaging;
