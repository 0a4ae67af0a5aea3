//! Clients with an SVID of their own, which connect while both sides rotate.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "scripts/test shows what was measured")]

mod both;
mod campaign;
mod exec;
mod java;
mod killed;
mod libpq;
mod long_lived;
mod one_directory;
mod own_login;
