//! Starts threads, and gives the remedy if the kernel refuses one: `std::thread::spawn` and most libraries panic then.

use std::io;
use std::thread::{Builder, JoinHandle};

/// The remedy if a user, a service or a container may have no more processes or threads.
pub const REMEDY: &str = "raise the limit of processes (TasksMax of the systemd unit, the container's pids limit, ulimit -u)";

/// The kernel refused a thread (`RLIMIT_NPROC`, `pids.max`).
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that {purpose} ({cause}): {REMEDY}")]
pub struct Refused {
    purpose: &'static str,
    cause: io::Error,
}

/// Starts a thread. `purpose` ends the sentence "the thread that …".
pub fn start(
    name: &str,
    purpose: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Refused> {
    let thread = Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(|cause| Refused { purpose, cause })
}
