//! A SPIFFE Workload API for laptops and tests, with a certificate authority of its own.
//!
//! It behaves like SPIRE's agent and server as far as a workload can tell: names, extensions and
//! dates of certificates, renewal at half of the lifetime, the order of messages when the
//! authority changes, what becomes of the socket. It attests nobody: every caller gets every SVID.
//! And it can be told to misbehave ([`Misbehaviour`], [`Flaw`], [`DevAgent::push`]).
//!
//! [`DevAgent`] is a plain value with plain methods. It owns a thread with a runtime, so tests
//! with and without a runtime of their own use it alike:
//!
//! ```
//! use dev_agent::{DevAgent, Entry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let agent = DevAgent::builder(directory.path().join("agent.sock"))
//!     .entry(Entry::new("spiffe://example.org/db").dns("localhost"))
//!     .start()?;
//! let before = agent.svid();
//! agent.rotate()?;
//! assert_ne!(agent.svid().leaf(), before.leaf());
//! # Ok(())
//! # }
//! ```

mod activity;
mod agent;
mod authorities;
mod builder;
mod ca;
mod clock;
mod connection;
mod entry;
mod error;
mod jwt;
mod key;
mod leaf;
mod misbehave;
mod raw;
mod renewal;
mod serve;
mod shared;
mod socket;
mod state;
mod streams;
mod svid;
mod thread;

#[cfg(test)]
mod tests;

pub use tonic::{Code, Status};

pub use crate::activity::Activity;
pub use crate::agent::{DevAgent, Stop};
pub use crate::builder::Builder;
pub use crate::ca::{Authority, KeyIdentifier};
pub use crate::entry::{Entry, Flaw, trust_domain_of};
pub use crate::error::Error;
pub use crate::key::KeyType;
pub use crate::misbehave::{Misbehaviour, framed};
pub use crate::svid::Svid;
