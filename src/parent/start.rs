//! One daemon: start it, give it orders, and wait for it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};

use super::channel::{HOOK, HookNumbers, Order, Predecessor, TABLE, VARIABLE};
use super::duty::Ended;
use super::hook_runs::HookRuns;
use super::itself::itself;
use crate::hooks::Answer;

/// The most bytes to read at a time: of the table of hooks, and of requests, each of which has an answer.
const AT_A_TIME: usize = 8192;
const REQUESTS_AT_A_TIME: usize = 64;

pub(super) struct Daemon {
    pid: Pid,
    stream: UnixStream,
    /// Its number among this parent's daemons, from 0.
    number: u32,
    /// Bytes that it has sent, and that are not handled yet.
    pub(super) received: Vec<u8>,
    /// Whether it has sent its table of hooks.
    pub(super) has_table: bool,
    /// Whether it has published a valid set.
    pub(super) is_ready: bool,
}

impl Daemon {
    /// Starts it with the arguments of this process.
    pub(super) fn start(
        arguments: &[OsString],
        predecessor: Option<&Predecessor>,
    ) -> io::Result<Self> {
        let (stream, its) = UnixStream::pair()?;
        let child = itself(arguments)
            .args(arguments.iter().skip(1))
            .env(VARIABLE, Predecessor::variable(predecessor))
            // The variable names the parent, but the daemon notifies the service manager.
            .env_remove("WATCHDOG_PID")
            .stdin(OwnedFd::from(its))
            .spawn()?;
        let number = predecessor.map_or(0, |one| one.restarts);
        let pid = Pid::from_child(&child);
        Ok(Self { pid, stream, number, received: Vec::new(), has_table: false, is_ready: false })
    }

    /// Its number among this parent's daemons, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn send_order(&self, order: Order) {
        self.send(&[order.byte()]);
    }

    /// Sends the numbers of its hooks.
    pub(super) fn send_hook_numbers(&self, numbers: &HookNumbers) {
        self.send(&[&[TABLE], &numbers[..]].concat());
    }

    /// Sends the result of a hook.
    pub(super) fn send_answer(&self, answer: &Answer) {
        self.send(&[&[HOOK], &answer.bytes()[..]].concat());
    }

    /// Sends all bytes or none, since they fit into one buffer of the kernel. If that is full, the daemon has unread messages
    /// already, and these bytes are dropped.
    fn send(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Receives bytes from the daemon. Returns whether the daemon has closed the channel: the process has ended, or is about to.
    pub(super) fn receive(&mut self) -> bool {
        let mut part = [0; AT_A_TIME];
        let most = if self.has_table { REQUESTS_AT_A_TIME } else { AT_A_TIME };
        match recv(&self.stream, &mut part[..most], RecvFlags::DONTWAIT) {
            Ok((length @ 1.., _)) => {
                self.received.extend_from_slice(part.get(..length).unwrap_or_default());
                false
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok((0, _)) | Err(_) => true,
        }
    }

    /// Kills the daemon with SIGKILL, waits until it has ended, and returns how.
    pub(super) fn end(&self) -> Ended {
        self.signal(Signal::KILL);
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => return exited(status.as_raw()),
                Ok(None) | Err(Errno::INTR) => {}
                Err(_) => return Ended::Unknown("its status was lost".to_owned()),
            }
        }
    }
}

/// Waits for every child that has ended, sends the daemon the results of its hooks, and returns how the daemon ended, if it did.
/// The first process of a container also adopts orphans.
pub(super) fn reap(daemon: Option<&Daemon>, hook_runs: &mut HookRuns) -> Option<Ended> {
    let mut ended = None;
    hook_runs.before_reaping();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if daemon.is_some_and(|daemon| daemon.pid == pid) {
            ended = Some(exited(status.as_raw()));
        } else if let Some((asked_by, answer)) =
            hook_runs.reaped(pid, ExitStatus::from_raw(status.as_raw()))
            && let Some(daemon) = daemon.filter(|daemon| daemon.number == asked_by)
        {
            daemon.send_answer(&answer);
        }
        hook_runs.before_reaping();
    }
    ended
}

fn exited(status: i32) -> Ended {
    Ended::Exited(ExitStatus::from_raw(status))
}

impl AsFd for Daemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
