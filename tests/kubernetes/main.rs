//! With a real Kubernetes: `scripts/test-kubernetes` starts one and runs this inside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![allow(clippy::disallowed_methods, reason = "a real cluster runs on the real clock")]

mod alone;
mod api;
mod cluster;
mod helm;
mod kubectl;
mod manifests;
mod namespace;
mod node;
mod processes;
mod publisher;

use std::fmt::Display;
use std::thread::sleep;
use std::time::Duration;

use test_support::Outcome;

/// A node that runs many pods at once is slow.
const LIMIT: Duration = Duration::from_secs(300);
/// Each question is a run of kubectl.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks twice a second until `condition` holds.
#[track_caller]
fn eventually<O: Outcome>(what: impl Display, mut condition: impl FnMut() -> O) -> O::Value {
    test_support::eventually(LIMIT, what, || {
        sleep(PAUSE);
        condition()
    })
}
