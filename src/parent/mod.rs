//! The first process of `pgsvid run` and `pgsvid exec`: it starts the daemon, and restarts it whenever it dies, so that a crash does not
//! restart the container, which would take its pod out of its Service.
//!
//! This process is never confined and holds no key. It only reads signals and the daemon's few messages. It only starts this
//! program: as the daemon, as the process that carries out one run of a hook, and as the one that becomes the application of
//! `exec`. The first daemon sends the hooks, and how to start the application, before it is confined and opens any socket; no
//! later daemon can change them. This process has one thread, which sleeps until a signal comes, a child ends, or a hook has
//! output.

mod application;
mod channel;
mod duty;
mod hook_run;
mod hook_runs;
mod inherited;
mod itself;
mod keep;
mod manager;
mod report;
mod settings;
mod signals;
mod start;

pub use application::{NO_SET, NotStarted, OWN_FAILURE, application, become_application};
pub use channel::{Order, ParentMessage, Predecessor, VARIABLE};
pub use inherited::{Asker, Channel, Orders};
pub use keep::{Kept, keep, keep_with_application};
pub use manager::connect;
pub use report::Report;
pub use settings::{NoSettings, OnRotation, Settings};
