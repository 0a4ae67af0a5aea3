//! Time: the one reading of the wall clock, its leaps, and back-off.

mod backoff;
mod clock;
mod leap;

pub use backoff::Backoff;
pub use clock::{now, roughly, spent, utc};
pub use leap::{Clocks, Leap};
