//! Time: the one place that reads the wall clock, clock changes, and back-off.

mod backoff;
mod clock;
mod leap;

pub use backoff::{Backoff, jittered};
pub use clock::{milliseconds, now, roughly, shortly, spent, utc};
pub use leap::{Clocks, Leap};
