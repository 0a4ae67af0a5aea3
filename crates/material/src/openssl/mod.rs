//! Path validation by OpenSSL's rules, which PostgreSQL and libpq use: with its defaults, for client certificates and
//! `sslmode=verify-full`, at security level 2.
//!
//! The rules are those of OpenSSL 3.0 (`crypto/x509`). `tests/files/material/agreement.rs` compares them with `openssl verify`.

mod algorithms;
mod chain;
mod constraints;
mod curves;
mod effort;
mod facts;
mod fault;
mod identifiers;
mod judge;
mod names;
mod refusal;
mod served;
mod signatures;

pub(crate) use chain::{Available, build};
pub(crate) use effort::Effort;
pub(crate) use facts::Facts;
pub use fault::Fault;
pub(crate) use judge::{Purpose, fits_purpose, judge};
pub use refusal::{Refusal, Which};
pub(crate) use served::{check_served, loads_key};
pub(crate) use signatures::{Signature, Signatures};
