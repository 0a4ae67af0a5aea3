//! The process that becomes the application. The parent starts it from its own program, because it blocks signals for itself
//! and must not do so for the application.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::SigSet;
use rustix::process::{Pid, getpid, getppid};

use crate::parent::channel::VARIABLE;

/// The beginning of the value of the parent's variable that makes a process this one. The number of the argument at which the
/// application begins follows.
pub(super) const LINE: &str = "application ";
/// Exit status: there is no such program.
const NOT_FOUND: u8 = 127;
/// Exit status: the program cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// What a service manager tells pgsvid alone.
const OURS: [&str; 4] = [VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// Names the process for which sockets were opened (`sd_listen_fds(3)`).
const LISTENER: &str = "LISTEN_PID";

/// Why the application was not started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {}: {cause}{remedy}", program.display())]
pub struct NotStarted {
    program: OsString,
    cause: io::Error,
    /// Begins with a separator.
    remedy: &'static str,
}

impl NotStarted {
    /// The exit status that shells have for it: 127 or 126.
    #[must_use]
    pub fn status(&self) -> u8 {
        if self.cause.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
    }
}

/// Whether there is a file of this name: at this path, or in a directory of PATH.
fn is_there(program: &OsStr) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let has_slash = program.as_bytes().contains(&b'/');
    has_slash || env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The number of the argument at which the application begins, if the parent has started this process to become it.
#[must_use]
pub fn application(line: &str) -> Option<usize> {
    line.strip_prefix(LINE)?.parse().ok()
}

/// Becomes the application, which begins at this one of the arguments. Returns only if that fails.
#[must_use]
pub fn become_application(arguments: &[OsString], begins: usize) -> NotStarted {
    let mut words = arguments.iter().skip(begins);
    let program = words.next().cloned().unwrap_or_default();
    // The parent blocks all signals, and this process has inherited that.
    let _ = SigSet::empty().thread_set_mask();
    let mut command = Command::new(&program);
    command.args(words);
    for name in OURS {
        command.env_remove(name);
    }
    let listener = env::var(LISTENER).ok().and_then(|pid| pid.parse().ok());
    if listener.is_some() && listener == getppid().map(Pid::as_raw_pid) {
        command.env(LISTENER, getpid().as_raw_pid().to_string());
    }
    let mut cause = command.exec();
    // The kernel's answer about a directory of PATH that is closed to this user says nothing of the program.
    if cause.kind() == io::ErrorKind::PermissionDenied && !is_there(&program) {
        cause = io::ErrorKind::NotFound.into();
    }
    let remedy = match cause.kind() {
        io::ErrorKind::NotFound if program.is_empty() => "; name a program after --",
        io::ErrorKind::NotFound => {
            "; correct the name after --, or install it; a script also needs the program of its first line"
        }
        io::ErrorKind::PermissionDenied => "; it must be an executable file (chmod +x)",
        _ => "; a script needs a first line such as #!/bin/sh",
    };
    NotStarted { program, cause, remedy }
}
