//! The first process of `pgsvid run`: it starts the daemon, and starts it again whenever it dies, so that no crash is a restart
//! of the container, which would take its pod out of its Service.
//!
//! It is never confined and holds no key. It reads signals, and one byte from the daemon; it runs this program and no other.
//! One thread, which sleeps until a signal comes or the daemon ends.

mod channel;
mod duty;
mod inherited;
mod keep;
mod manager;
mod signals;
mod start;

pub use channel::{Order, Predecessor, VARIABLE};
pub use inherited::{Channel, Orders};
pub use keep::keep;
pub use manager::connect;
