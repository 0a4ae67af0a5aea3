//! The agent as workloads and tests see it: over its socket, with a real client.

mod authority;
mod certificates;
mod client;
mod lifecycle;
mod misbehaviour;
mod protocol;

use std::time::Duration;

use tempfile::TempDir;

use crate::{Builder, DevAgent, Entry};

const DB: &str = "spiffe://example.org/ns/applications/sa/dbserver";

/// Nothing here takes long; this is for machines that are busy.
const LIMIT: Duration = Duration::from_secs(10);

/// Settings for an agent in a directory of its own.
fn agent() -> (TempDir, Builder) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    (directory, DevAgent::builder(socket))
}

/// The same with one workload.
fn database() -> (TempDir, Builder) {
    let (directory, builder) = agent();
    (directory, builder.entry(Entry::new(DB).dns("localhost")))
}
