//! One run of a hook: the process that carries it out, its output, and its time limit.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::io::ioctl_fionbio;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::time::Instant;

use super::channel::VARIABLE;
use crate::hooks::{self, Answer, End, Entry, Report, Request, TAIL};

/// How long the processes of a run may take to end after SIGTERM, before they are killed.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Most bytes of output to read at a time, because the parent has other work, too.
const AT_A_TIME: usize = 64 * 1024;

/// Whether the run was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No: its time limit has not passed.
    InTime,
    /// SIGTERM was sent.
    Asked,
    /// SIGKILL was sent.
    Killed,
}

pub(super) struct HookRun {
    pub(super) number: u8,
    pub(super) token: u32,
    /// The number of the daemon that requested it.
    pub(super) asked_by: u32,
    pub(super) pid: Pid,
    report: UnixStream,
    output: Option<PipeReader>,
    tail: Vec<u8>,
    written: u32,
    begun: Instant,
    deadline: Instant,
    phase: Phase,
}

impl HookRun {
    /// Starts the process. `program` is this program, in a form that can be executed.
    pub(super) fn start(
        mut program: Command,
        entry: &Entry,
        request: Request,
        asked_by: u32,
    ) -> io::Result<Self> {
        let (mut report, its) = UnixStream::pair()?;
        let (output, writer) = io::pipe()?;
        ioctl_fionbio(&output, true)?;
        report.set_nonblocking(true)?;
        // Before the process starts: it then finds its order, and is not killed without one.
        report.write_all(&hooks::order(request.generation, &entry.bytes))?;
        let child = program
            .arg("run")
            .env_clear()
            .env(VARIABLE, hooks::LINE)
            .current_dir("/")
            .stdin(OwnedFd::from(its))
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        let begun = Instant::now();
        Ok(Self {
            number: request.number,
            token: request.token,
            asked_by,
            pid: Pid::from_child(&child),
            report,
            output: Some(output),
            tail: Vec::new(),
            written: 0,
            begun,
            deadline: begun + entry.timeout,
            phase: Phase::InTime,
        })
    }

    /// The descriptor to poll for output; `None` once there will be no more.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// When to call [`Self::turn`] if no event comes before; `None` once the run was killed.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.phase {
            Phase::InTime => Some(self.deadline),
            Phase::Asked => Some(self.deadline + GRACE),
            Phase::Killed => None,
        }
    }

    /// Reads its output, and ends it once its time is over.
    pub(super) fn turn(&mut self, now: Instant) {
        self.read();
        if self.next().is_some_and(|next| next <= now) {
            match self.phase {
                Phase::InTime => {
                    self.phase = Phase::Asked;
                    self.deadline = now;
                    self.signal(Signal::TERM);
                }
                Phase::Asked | Phase::Killed => self.kill(),
            }
        }
    }

    /// Ends it, and all that it has started in its group.
    pub(super) fn kill(&mut self) {
        self.phase = Phase::Killed;
        self.signal(Signal::KILL);
    }

    /// Asks it to end, before its time.
    pub(super) fn ask_to_end(&mut self) {
        if self.phase == Phase::InTime {
            self.phase = Phase::Asked;
            self.deadline = Instant::now();
            self.signal(Signal::TERM);
        }
    }

    /// Kills what is left of the process group of a run that was asked to end. Call it before the run's process is reaped,
    /// because the kernel may give the group's number to others after that.
    pub(super) fn before_it_is_reaped(&mut self) {
        if self.phase == Phase::InTime {
            return;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if matches!(waitid(WaitId::Pid(self.pid), options), Ok(Some(_))) {
            self.kill();
        }
    }

    /// To its process group: a time-out is for all that it starts. In its first moment the process has no group of its own yet.
    fn signal(&self, signal: Signal) {
        if kill_process_group(self.pid, signal).is_err() {
            let _ = kill_process(self.pid, signal);
        }
    }

    fn read(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut left = AT_A_TIME;
        let mut part = [0; 4096];
        while left > 0 {
            match output.read(&mut part) {
                Ok(length @ 1..) => {
                    self.written =
                        self.written.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
                    self.tail.extend_from_slice(part.get(..length).unwrap_or_default());
                    let surplus = self.tail.len().saturating_sub(TAIL);
                    self.tail.drain(..surplus);
                    left = left.saturating_sub(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.output = None;
                    return;
                }
            }
        }
    }

    /// The result to send to the daemon, after the run's process has ended with this status.
    pub(super) fn ended(mut self, status: ExitStatus) -> Answer {
        self.read();
        let mut report = [0; Report::LENGTH + 1];
        let reported = self.report.read(&mut report).ok();
        let reported = reported.and_then(|length| Report::read(report.get(..length)?));
        let end = match (self.phase, reported) {
            (Phase::Asked | Phase::Killed, _) => End::TimedOut,
            (Phase::InTime, Some(end)) => end,
            (Phase::InTime, None) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Exited(code),
                (None, signal) => End::Killed(signal.unwrap_or_default()),
            },
        };
        let took = u32::try_from(self.begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        Answer { token: self.token, end, took, written: self.written, output: self.tail }
    }
}
