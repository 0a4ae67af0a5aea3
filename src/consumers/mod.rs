//! What reads the published set: told to read it again, and looked at until it is proven to serve it.
//!
//! One room for each kind. A consumer knows nothing of where the set comes from, or of what else reads it.

mod delivery;
mod postgres;

pub use postgres::Server;
pub(crate) use postgres::{Attempt, Consumer, Login};
