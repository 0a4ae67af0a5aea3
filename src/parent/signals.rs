//! The signals of the parent: read from a descriptor, one after the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix_libc_wrappers::process::SignalExt as _;

/// The signals that the parent of an application leaves as they are: those of its own faults, and those for writing to a closed
/// pipe and for reading from a terminal in the background.
const LEFT: [Signal; 10] = [
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGPIPE,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// What a signal asks the parent to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// SIGTERM or SIGINT: end.
    End,
    /// SIGHUP: let the daemon publish, reload and verify again.
    Again,
    /// SIGCHLD: reap the children that have ended.
    Reap,
    /// Any other, if there is an application: it is for the application.
    Pass(Caught),
}

/// A signal that was not meant for the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caught {
    number: i32,
    is_from_kernel: bool,
}

impl Caught {
    /// Its number.
    pub(super) fn number(self) -> i32 {
        self.number
    }

    /// The signal, to be sent. Those for real time, too, but not the ones that the C library keeps for itself.
    pub(super) fn signal(self) -> Option<rustix::process::Signal> {
        rustix::process::Signal::from_raw(self.number)
    }

    /// Whether the kernel has sent it, for instance because of a key that was pressed, and no process.
    pub(super) fn is_from_kernel(self) -> bool {
        self.is_from_kernel
    }
}

pub(super) struct Signals {
    descriptor: SignalFd,
    /// Whether all signals except SIGCHLD are for the application.
    passes: bool,
}

impl Signals {
    /// Blocks the signals of the parent, so that only [`Signals::next`] receives them. Processes that this one starts inherit the
    /// block.
    pub(super) fn block() -> io::Result<Self> {
        let mut set = ends();
        set.add(Signal::SIGHUP);
        set.add(Signal::SIGCHLD);
        Self::of(&set, false)
    }

    /// The same for all signals that can be passed on to an application. One that this process was told to ignore, as by
    /// `nohup`, stays ignored.
    pub(super) fn block_all() -> io::Result<Self> {
        let ignored = ignored();
        // The kernel then neither tells of the end of a child nor keeps its status.
        if ignored & bit(Signal::SIGCHLD) != 0 {
            return Err(io::Error::other(
                "SIGCHLD is ignored, so the end of the application could not be noticed; let the program that starts pgsvid reset that signal",
            ));
        }
        let mut set = SigSet::all();
        for signal in Signal::iterator() {
            if LEFT.contains(&signal) || ignored & bit(signal) != 0 {
                set.remove(signal);
            }
        }
        set.add(Signal::SIGCHLD);
        Self::of(&set, true)
    }

    fn of(set: &SigSet, passes: bool) -> io::Result<Self> {
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { descriptor: SignalFd::with_flags(set, flags)?, passes })
    }

    /// The next signal that has arrived, if there is one.
    pub(super) fn next(&self) -> Option<Wanted> {
        let signal = self.descriptor.read_signal().ok()??;
        let number = i32::try_from(signal.ssi_signo).ok()?;
        let known = Signal::try_from(number).ok();
        Some(match known {
            Some(Signal::SIGCHLD) => Wanted::Reap,
            _ if self.passes => {
                Wanted::Pass(Caught { number, is_from_kernel: signal.ssi_code == libc::SI_KERNEL })
            }
            Some(Signal::SIGHUP) => Wanted::Again,
            _ => Wanted::End,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The bit of a signal in the masks of `proc_pid_status(5)`.
fn bit(signal: Signal) -> u64 {
    1u64.checked_shl((signal as u32).saturating_sub(1)).unwrap_or_default()
}

/// The signals that this process ignores, as bits (`proc_pid_status(5)`); none without /proc.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Stops this process after SIGTSTP, as the signal does by default, so that a shell sees it. Returns once it continues.
pub(super) fn stop() {
    let set: SigSet = [Signal::SIGTSTP].into_iter().collect();
    let _ = raise(Signal::SIGTSTP);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}

fn ends() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

/// Lets SIGTERM and SIGINT end this process, as they do by default. All else that the parent has blocked is unblocked, too, except
/// for SIGHUP and SIGCHLD; a terminal does not stop this process when it writes from the background.
pub(super) fn release() {
    let kept = [Signal::SIGHUP, Signal::SIGCHLD, Signal::SIGTTOU];
    let _ = kept.into_iter().collect::<SigSet>().thread_set_mask();
}

/// Blocks SIGTERM and SIGINT again, because the parent reads them from its descriptor.
pub(super) fn hold() {
    let _ = ends().thread_block();
}
