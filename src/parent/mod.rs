//! The first process of `pgsvid run`: it starts the daemon, and restarts it whenever it dies, so that a crash does not
//! restart the container, which would take its pod out of its Service.
//!
//! This process is never confined and holds no key. It only reads signals and the daemon's few messages. It only starts this
//! program: as the daemon, and as the process that carries out one run of a hook. The first daemon sends the hooks before it
//! is confined and opens any socket; no later daemon can change them. This process has one thread, which sleeps until a signal comes, the daemon ends, or
//! a hook has output.

mod channel;
mod duty;
mod hook_run;
mod hook_runs;
mod inherited;
mod itself;
mod keep;
mod manager;
mod signals;
mod start;

pub use channel::{Order, ParentMessage, Predecessor, VARIABLE};
pub use inherited::{Asker, Channel, Orders};
pub use keep::keep;
pub use manager::connect;
