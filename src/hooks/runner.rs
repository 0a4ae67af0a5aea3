//! The process that carries out one run. The parent starts it from its own program: it becomes the configured user, and executes
//! the command or sends the signal.
//!
//! It receives its order, and sends its report, over the socket that is its standard input. If it executes a command, it sends no
//! report: the execution closes the socket.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Signal, geteuid, pidfd_send_signal, set_parent_process_death_signal, setsid,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{Action, End, Hook, User, pid_file, signal};
use crate::sandbox::Descriptors;

/// The value of the parent's environment variable that makes the program carry out a run instead of being the daemon.
pub const LINE: &str = "hook";
/// The `PATH` of a command. The command itself has an absolute path; this is for the programs that it starts.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a process is watched after a signal to reload: a program that does not handle the signal is ended by it.
const WATCHED: Duration = Duration::from_millis(200);
/// The signals that are sent to end a process.
const ENDING: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::TERM];

/// The parent's message to this process: the number of the publication, and the hook.
#[must_use]
pub fn order(generation: u64, hook: &[u8]) -> Vec<u8> {
    let length = u32::try_from(hook.len()).unwrap_or_default();
    [&length.to_le_bytes()[..], &generation.to_le_bytes(), hook].concat()
}

/// This process's message to the parent, unless it has executed a command.
#[derive(Debug)]
pub struct Report;

impl Report {
    /// Length in bytes.
    pub const LENGTH: usize = 5;

    fn bytes(end: End) -> [u8; Self::LENGTH] {
        let (kind, number) = end.code();
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// Reads a report; `None` if the bytes are not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<End> {
        let [kind, a, b, c, d] = *bytes else { return None };
        End::of(kind, i32::from_le_bytes([a, b, c, d]))
    }
}

/// Carries out the run that the parent has sent. Does not return if a command is executed, because the command replaces this
/// process. Returns whether a signal was sent and the report was written.
#[must_use]
pub fn carry_out() -> bool {
    // A hook must not inherit what the starter of pgsvid has left open.
    Descriptors::inherited().close();
    let Ok(mut line) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else {
        return false;
    };
    let end = match received(&mut line) {
        Ok((generation, hook)) => carry_out_run(&hook, generation),
        Err(_) => return false,
    };
    line.write_all(&Report::bytes(end)).is_ok() && end.is_success()
}

/// Receives the hook to run, and the generation that it follows. An error if this process was not started by the parent.
fn received(line: &mut UnixStream) -> io::Result<(u64, Hook)> {
    line.peer_addr()?;
    let mut head = [0; 12];
    line.read_exact(&mut head)?;
    let [a, b, c, d, generation @ ..] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or_default();
    let mut hook = vec![0; length];
    line.read_exact(&mut hook)?;
    Ok((u64::from_le_bytes(generation), serde_json::from_slice(&hook)?))
}

fn carry_out_run(hook: &Hook, generation: u64) -> End {
    // The run gets a session of its own. Otherwise it could type into the terminal that pgsvid was started from, and read what is
    // typed there.
    if let Err(error) = setsid() {
        return End::NotStarted(error.raw_os_error());
    }
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(OwnedFd::from(null));
    }
    // The parent blocks its signals, and this process has inherited that.
    let _ = SigSet::empty().thread_set_mask();
    if let Some(user) = &hook.user
        && let Err(error) = become_user(user)
    {
        return End::NotTheUser(error as i32);
    }
    // The kernel resets this setting when a process becomes another user.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    match &hook.action {
        // The parent does it itself.
        Action::Application => End::Unknown,
        Action::Command(arguments) => execute(hook, arguments, generation),
        Action::Signal { signal: name, pid_file, process } => {
            let Some((_, wanted)) = signal(name) else { return End::NotStarted(0) };
            match pid_file::find(pid_file, process.as_deref()) {
                Ok((pid, process)) => send(pid, &process, wanted),
                Err(end) => end,
            }
        }
    }
}

/// Becomes the user, irrevocably.
fn become_user(user: &User) -> nix::Result<()> {
    // A process that already is this user needs no change, and without privileges cannot set its groups.
    if geteuid().as_raw() == user.uid {
        return Ok(());
    }
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setgid(Gid::from_raw(user.gid))?;
    setuid(Uid::from_raw(user.uid))?;
    // The kernel clears them only if the change is from root, and no securebit is set. This clears ambient ones, too.
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).map_err(|error| nix::Error::from_raw(error.raw_os_error()))
}

/// Becomes the command; returns only if that fails.
fn execute(hook: &Hook, arguments: &[String], generation: u64) -> End {
    let Some((program, rest)) = arguments.split_first() else { return End::NotStarted(0) };
    let error = Command::new(program)
        .args(rest)
        .env_clear()
        .env("PATH", PATH)
        .envs(hook.environment.iter().map(|(name, value)| (name, value)))
        .env("PGSVID_HOOK", &hook.name)
        .env("PGSVID_DIRECTORY", &hook.directory)
        .env("PGSVID_GENERATION", generation.to_string())
        .exec();
    End::NotStarted(error.raw_os_error().unwrap_or_default())
}

fn send(pid: i32, process: &OwnedFd, wanted: Signal) -> End {
    match pidfd_send_signal(process, wanted) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return End::Gone(pid),
        Err(error) => return End::SignalRefused(error.raw_os_error()),
    }
    if ENDING.contains(&wanted) {
        return End::Delivered;
    }
    let limit = Timespec::try_from(WATCHED).ok();
    match poll(&mut [PollFd::new(process, PollFlags::IN)], limit.as_ref()) {
        Ok(1..) => End::Died(pid),
        _ => End::Delivered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_as_they_were_sent() {
        for end in [End::Delivered, End::NotStarted(13), End::OtherUser(4711)] {
            assert_eq!(Report::read(&Report::bytes(end)), Some(end));
        }
        assert_eq!(Report::read(b"abc"), None);
        assert_eq!(Report::read(&[200, 0, 0, 0, 0]), None);
    }
}
