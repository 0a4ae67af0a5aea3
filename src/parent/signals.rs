//! The signals of the parent: read from a descriptor, one after the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a signal asks the parent to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// SIGTERM or SIGINT: end.
    End,
    /// SIGHUP: let the daemon publish, reload and verify again.
    Again,
    /// SIGCHLD: reap the children that have ended.
    Reap,
}

pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks these signals, so that only [`Signals::next`] receives them. Processes that this one starts inherit the block.
    pub(super) fn block() -> io::Result<Self> {
        let mut set = ends();
        set.add(Signal::SIGHUP);
        set.add(Signal::SIGCHLD);
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&set, flags)?))
    }

    /// The next signal that has arrived, if there is one.
    pub(super) fn next(&self) -> Option<Wanted> {
        let signal = self.0.read_signal().ok()??;
        match i32::try_from(signal.ssi_signo)
            .ok()
            .and_then(|number| Signal::try_from(number).ok())?
        {
            Signal::SIGHUP => Some(Wanted::Again),
            Signal::SIGCHLD => Some(Wanted::Reap),
            _ => Some(Wanted::End),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn ends() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

/// Lets SIGTERM and SIGINT end this process, as they do by default.
pub(super) fn release() {
    let _ = ends().thread_unblock();
}

/// Blocks SIGTERM and SIGINT again, because the parent reads them from its descriptor.
pub(super) fn hold() {
    let _ = ends().thread_block();
}
