//! Pods on a node, with a real SPIRE. These tests run at the same time.

mod certificates;
mod examples;
mod failures;
mod injected;
mod java;
mod jobs;
mod upgrades;
