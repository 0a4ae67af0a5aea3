//! Time: the one place that reads the wall clock, clock changes, back-off and budgets.

mod backoff;
mod budget;
mod clock;
mod leap;

pub use backoff::{Backoff, jittered};
pub use budget::Budget;
pub use clock::{milliseconds, now, roughly, shortly, spent, utc, utc_to_the_microsecond};
pub use leap::{Clocks, Leap};
