//! Time: the one reading of the wall clock, its leaps, and back-off.

mod backoff;
mod clock;
mod leap;

pub use backoff::Backoff;
pub use clock::{milliseconds, now, roughly, shortly, spent, utc};
pub use leap::{Clocks, Leap};
