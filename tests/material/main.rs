//! Rows I and C: what is refused before anything is written, and why; PEM as OpenSSL reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod identity;
mod loadable;
mod mutation;
mod offers;
mod openssl;
mod pem;
mod samples;
mod secrecy;
mod time;
mod trust;
