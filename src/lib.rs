//! pgsvid keeps PostgreSQL's TLS certificates fresh from the SPIFFE Workload API, and proves that they are served.
//!
//! `ARCHITECTURE.md` shows the rooms and which may know which.

pub mod companions;
pub mod material;
pub mod publish;
pub mod source;
pub mod timing;
pub mod watching;
