//! Three in the morning: the faults that a DBA meets. Each fault is real, and is followed from the log over the status and
//! `check` to the printed remedy, which is run as it is printed and must fix it. Other tests cover all cases of a single
//! answer (`postgresql`, `administration`, `agent`); these cover the whole chain.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod access;
mod agent;
mod clients;
mod files;
mod login;
mod night;
mod server;
mod settings;
mod table;
mod walk;
