//! Detects that somebody has changed a file, by attributes that the kernel records and that no user can set.

use rustix::fs::Stat;

/// Changes whenever a file is edited, replaced, renamed, or given another owner or mode; renaming it back does not restore the
/// old value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl Trace {
    /// Whether the file was last changed before `time`, in seconds and nanoseconds of the kernel's clock.
    pub(super) fn is_before(&self, time: (i64, i64)) -> bool {
        self.changed < time
    }

    /// Whether both are of the same inode, even if it was changed.
    pub(super) fn is_same_inode(&self, other: &Self) -> bool {
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
