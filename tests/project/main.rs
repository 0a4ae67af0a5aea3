//! What holds the project together: rooms, dependencies, documents, the fault table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod architecture;
mod circles;
mod dependencies;
mod documentation;
mod drivers;
mod events;
mod fault_rows;
mod figures;
mod findings;
mod generated;
mod links;
mod readme;
mod times;
mod verdicts;
mod words;
