//! Whether somebody has been at something: what the kernel notes of it, and nobody can set.

use std::time::Duration;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::directory::Directory;
use super::error::Error;

/// Changes whenever a thing is edited, replaced, renamed, or given another owner or mode: renamed back it still differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl Trace {
    /// Whether both are of the same thing, whatever has happened to it.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        }
    }
}

/// The kernel notes times by a clock that ticks so often at least.
const TICK: Duration = Duration::from_millis(1);
/// A file server has a clock of its own, which may be ahead.
const MOST_TICKS: u32 = 50;

/// What others could exchange and exchange back while PostgreSQL reads: the links, the generation, and what they may rename
/// on the way to the directory. Files in the generation are out of their reach.
pub(super) fn of_all(directory: &Directory, names: &[String]) -> Result<Vec<Trace>, Error> {
    let mut traces = directory.exposed()?;
    for name in names {
        let stat = rustix::fs::statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        traces
            .push(Trace::of(&stat.map_err(|cause: Errno| directory.step("look at", name, cause))?));
    }
    Ok(traces)
}

/// The same once the kernel's clock has gone on, so that whatever happens later gets a later time.
pub(super) fn of_all_settled(directory: &Directory, names: &[String]) -> Result<Vec<Trace>, Error> {
    let mut traces = of_all(directory, names)?;
    for _ in 0..MOST_TICKS {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        if traces.iter().all(|trace| trace.changed < (now.tv_sec, now.tv_nsec)) {
            break;
        }
        std::thread::sleep(TICK);
        traces = of_all(directory, names)?;
    }
    Ok(traces)
}
