//! What the fuzz targets do, without a fuzzer: functions from bytes that others choose to properties that must hold.
//!
//! `fuzz_targets/` gives these functions to libFuzzer; `tests/files/fuzz_corpora.rs`, which includes this file, replays the
//! corpora and a few thousand mutations of them on any toolchain. A property that does not hold is a panic.
//!
//! No input holds a key or a certificate. Where a target wants them, [`seeds`] makes them, the same in every process, and
//! the input says what is done to them.

#![allow(unreachable_pub, reason = "a library for the fuzz targets, a private module for the test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a target reports")]

pub mod access;
pub mod configuration;
mod edits;
pub mod inspect;
pub mod probe;
mod seeds;
pub mod service_file;
mod texts;
pub mod workload_api;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("access", access::run),
    ("configuration", configuration::run),
    ("inspect", inspect::run),
    ("probe", probe::run),
    ("service_file", service_file::run),
    ("workload_api", workload_api::run),
];
