//! Time: the one reading of the wall clock, and back-off.

mod backoff;
mod clock;

pub use backoff::Backoff;
pub use clock::{now, roughly, utc};
