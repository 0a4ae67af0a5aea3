//! Material and files: what is accepted, how it is published, and what others do to it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fuzz_corpora;
mod material;
mod publication;
mod watching;
