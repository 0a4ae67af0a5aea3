//! With a real Kubernetes: `scripts/test-kubernetes` starts one and runs this inside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![allow(clippy::disallowed_methods, reason = "a real cluster runs on the real clock")]

mod api;
mod cluster;
mod kubectl;
mod manifests;
mod node;

use std::time::Duration;

/// A node that runs many pods at once is slow.
const LIMIT: Duration = Duration::from_secs(180);
