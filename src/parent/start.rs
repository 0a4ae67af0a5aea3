//! One daemon: started, told, and waited for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};

use super::channel::{Order, Predecessor, READY, VARIABLE};
use super::duty::Ended;

/// This very program, also after another one has been installed in its place.
const ITSELF: &str = "/proc/self/exe";

pub(super) struct Daemon {
    pid: Pid,
    stream: UnixStream,
}

/// What the channel tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Ready,
    /// The process has ended, or is about to.
    End,
    Nothing,
}

impl Daemon {
    /// Starts it with the arguments of this process.
    pub(super) fn start(
        arguments: &[OsString],
        predecessor: Option<&Predecessor>,
    ) -> io::Result<Self> {
        let (stream, its) = UnixStream::pair()?;
        let name = arguments.first().map_or(OsStr::new("pgsvid"), OsString::as_os_str);
        // Where there is no /proc, what its name says.
        let program = if Path::new(ITSELF).exists() { OsStr::new(ITSELF) } else { name };
        let child = Command::new(program)
            .arg0(name)
            .args(arguments.iter().skip(1))
            .env(VARIABLE, Predecessor::variable(predecessor))
            // It names the parent, and the daemon is the one that tells the service manager.
            .env_remove("WATCHDOG_PID")
            .stdin(OwnedFd::from(its))
            .spawn()?;
        Ok(Self { pid: Pid::from_child(&child), stream })
    }

    pub(super) fn tell(&self, order: Order) {
        // One that reads no orders has enough of them.
        let _ = send(&self.stream, &[order.byte()], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    pub(super) fn hear(&self) -> Heard {
        let mut byte = [0];
        match recv(&self.stream, &mut byte, RecvFlags::DONTWAIT) {
            Ok((1.., _)) if byte == [READY] => Heard::Ready,
            Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
            Ok((0, _)) | Err(_) => Heard::End,
        }
    }

    /// Its end is near: the kernel is asked how it ended.
    pub(super) fn end(&self) -> Ended {
        self.signal(Signal::KILL);
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => return told(status.as_raw()),
                Ok(None) | Err(Errno::INTR) => {}
                Err(_) => return Ended::Unknown("nobody was told how".to_owned()),
            }
        }
    }

    /// Waits for whatever has ended of all that this process has to wait for, and tells of the daemon.
    pub(super) fn reap(&self) -> Option<Ended> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                ended = Some(told(status.as_raw()));
            }
        }
        ended
    }
}

/// The same while there is no daemon: as the first process of a container, orphans are ours.
pub(super) fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn told(status: i32) -> Ended {
    Ended::Told(ExitStatus::from_raw(status))
}

impl AsFd for Daemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
