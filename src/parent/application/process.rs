//! The process of the application: its start, its group, and signals to it.
//!
//! On a terminal the application is in the process group of pgsvid, so that job control works as without pgsvid, and the terminal
//! itself signals both. Elsewhere it has a group of its own, so that what it has started can be ended with it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgid, getpid, getsid, kill_process, kill_process_group,
    waitid,
};

use super::become_it::LINE;
use crate::parent::channel::VARIABLE;
use crate::parent::itself::itself;
use crate::parent::settings::Settings;
use crate::parent::signals::Caught;

/// The terminal that controls this process, if one does.
const TERMINAL: &str = "/dev/tty";

/// The signals by which programs read their files again, and which end a program that does not handle them.
const READ_AGAIN: [Signal; 3] = [Signal::HUP, Signal::USR1, Signal::USR2];

pub(super) struct Running {
    pid: Pid,
    /// Whether it has a process group of its own.
    leads: bool,
}

impl Running {
    /// Starts this program as the process that becomes the application.
    pub(super) fn start(arguments: &[OsString], settings: &Settings) -> io::Result<Self> {
        let leads = File::open(Path::new(TERMINAL)).is_err();
        let mut command = itself(arguments);
        command.args(arguments.iter().skip(1)).env(VARIABLE, format!("{LINE}{}", settings.begins));
        for (name, value) in &settings.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if leads {
            command.process_group(0);
        }
        let child = command.spawn()?;
        Ok(Self { pid: Pid::from_child(&child), leads })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Passes a signal on, unless the terminal has sent it to both.
    pub(super) fn pass(&self, caught: Caught) {
        if !self.has_got(caught)
            && let Some(signal) = caught.signal()
        {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Whether the kernel has sent this signal to the application, too: one of the terminal goes to all of the foreground group.
    /// Only SIGHUP for the end of the connection goes to the leader of the session alone.
    fn has_got(&self, caught: Caught) -> bool {
        let is_hangup = caught.number() == Signal::HUP.as_raw();
        let leads_session = || getsid(None).is_ok_and(|session| session == getpid());
        !self.leads && caught.is_from_kernel() && !(is_hangup && leads_session())
    }

    /// Whether the signal is one for reading files again, and would end the application: it has not installed its handler, so it has
    /// not read any files yet, or does not know the signal.
    pub(super) fn would_end_by(&self, number: i32) -> bool {
        if !READ_AGAIN.iter().any(|signal| signal.as_raw() == number) {
            return false;
        }
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let Ok(status) = std::fs::read_to_string(path) else { return false };
        let has = |name: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix(name));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            mask.unwrap_or_default() >> (number - 1) & 1 == 1
        };
        !has("SigCgt:") && !has("SigIgn:")
    }

    /// Sends this signal to the application alone.
    pub(super) fn signal(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Asks the application, and all of its group, to end.
    pub(super) fn stop(&self) {
        self.signal_all(Signal::TERM);
        // A stopped process does not handle the signal.
        self.signal_all(Signal::CONT);
    }

    /// Kills the application, and all of its group.
    pub(super) fn kill(&self) {
        self.signal_all(Signal::KILL);
    }

    fn signal_all(&self, signal: Signal) {
        let in_group = self.leads && getpgid(Some(self.pid)).is_ok_and(|group| group == self.pid);
        if self.leads {
            let _ = kill_process_group(self.pid, signal);
        }
        // It may have joined another group.
        if !in_group {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills what is left of its group once the application itself has ended. Call it before that is reaped, because the kernel
    /// may give the group's number to others after that.
    pub(super) fn end_group(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if self.leads && matches!(waitid(WaitId::Pid(self.pid), options), Ok(Some(_))) {
            self.signal_all(Signal::KILL);
        }
    }
}
