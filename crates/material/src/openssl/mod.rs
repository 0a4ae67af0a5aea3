//! The validation of paths by OpenSSL's rules, which PostgreSQL and libpq leave to it: its defaults, with client certificates or
//! `sslmode=verify-full`, at security level 2.
//!
//! The rules are those of OpenSSL 3.0 (`crypto/x509`). `tests/files/material/agreement.rs` compares them with `openssl verify`.

mod algorithms;
mod chain;
mod constraints;
mod curves;
mod facts;
mod identifiers;
mod judge;
mod refusal;
mod served;
mod signatures;

pub(crate) use chain::{Stock, build};
pub(crate) use facts::Facts;
pub(crate) use judge::{Purpose, judge};
pub use refusal::{Fault, Refusal, Which};
pub(crate) use served::check_served;
pub(crate) use signatures::{Signature, Signatures};
