//! What the parent tells the daemon about the application of `exec`, so that it is logged.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::Pid;

/// What has become of the application of `exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It was started, as this process.
    Started(Pid),
    /// No process could be started for it: the kernel's error.
    NotStarted(i32),
    /// It has ended with this status.
    Ended(ExitStatus),
}

impl Report {
    /// Length in bytes.
    pub(super) const LENGTH: usize = 5;

    pub(super) fn bytes(self) -> [u8; Self::LENGTH] {
        let (kind, number) = match self {
            Self::Started(pid) => (0, pid.as_raw_pid()),
            Self::NotStarted(error) => (1, error),
            Self::Ended(status) => (2, status.into_raw()),
        };
        let [a, b, c, d] = i32::to_le_bytes(number);
        [kind, a, b, c, d]
    }

    pub(super) fn read(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let [kind, number @ ..] = bytes;
        let number = i32::from_le_bytes(number);
        Some(match kind {
            0 => Self::Started(Pid::from_raw(number)?),
            1 => Self::NotStarted(number),
            2 => Self::Ended(ExitStatus::from_raw(number)),
            _ => return None,
        })
    }
}
