//! Child processes whose output is watched.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::eventually::within;
use crate::output::{Mark, Missing, Output, Stream};
use crate::setup::LIMIT;
use crate::{Account, Process, spawn};

/// A running program. It ends when the value is dropped, or with the test process; if a test panics, the program's output is
/// shown.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Mutex<Child>,
    output: Arc<Output>,
    /// The processes that the kernel ends because this program was killed.
    orphans: Mutex<Vec<Process>>,
}

impl Program {
    /// Starts a program as [`Account::server`], in `/`, with `variables` but without any `PG*`,
    /// `PGSVID_*` or `SPIFFE_*` of the test's own environment.
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(
        path: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::spawn_as(Account::server(), path, arguments, variables)
    }

    /// Starts a program as another account; only root can choose a foreign one.
    #[track_caller]
    pub fn spawn_as<A: AsRef<OsStr>>(
        account: &Account,
        path: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::spawn_with_input(account, path.as_ref(), arguments, variables, Stdio::null())
    }

    /// Starts only the daemon of `pgsvid run`: the test is its parent, and has the parent's end of the channel. The daemon ends
    /// when that end is dropped. The program may be one that becomes pgsvid.
    #[track_caller]
    pub fn spawn_daemon<A: AsRef<OsStr>>(
        path: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
    ) -> (Self, UnixStream) {
        let (channel, its) = UnixStream::pair().expect("makes sockets");
        let (account, variables) = (Account::server(), [("PGSVID_PARENT", "0")]);
        let input = OwnedFd::from(its).into();
        (Self::spawn_with_input(account, path.as_ref(), arguments, &variables, input), channel)
    }

    #[track_caller]
    fn spawn_with_input<A: AsRef<OsStr>>(
        account: &Account,
        path: &Path,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
        input: Stdio,
    ) -> Self {
        let program = spawn::executable(path, account);
        let mut command = spawn::lasting_command(&program, account, "KILL");
        command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn::spawn(command)
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", path.display()));
        let output = Arc::new(Output::default());
        output.read(Stream::Standard, child.stdout.take().expect("was piped"));
        output.read(Stream::Error, child.stderr.take().expect("was piped"));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, child: Mutex::new(child), output, orphans: Mutex::default() }
    }

    /// The path at which [`Account::server`] finds a program that it starts itself, for instance from a shell.
    pub fn reachable(path: impl AsRef<Path>) -> PathBuf {
        spawn::executable(path.as_ref(), Account::server())
    }

    /// Waits for a line since the start for which the condition holds.
    #[track_caller]
    pub fn wait_for(&self, limit: Duration, condition: impl FnMut(&str) -> bool) -> String {
        self.wait_after(Mark::default(), limit, condition)
    }

    /// Waits for a line since the start that contains the text.
    #[track_caller]
    pub fn wait_for_text(&self, limit: Duration, text: &str) -> String {
        self.wait_for_text_after(Mark::default(), limit, text)
    }

    /// Waits for a line of JSON since the start for which the condition holds.
    #[track_caller]
    pub fn wait_for_event(&self, limit: Duration, condition: impl FnMut(&Value) -> bool) -> Value {
        self.wait_for_event_after(Mark::default(), limit, condition).0
    }

    /// The present end of the output: [`Program::wait_after`] only looks at what follows.
    pub fn mark(&self) -> Mark {
        self.output.mark()
    }

    /// Waits for a line after the mark for which the condition holds.
    #[track_caller]
    pub fn wait_after(
        &self,
        mark: Mark,
        limit: Duration,
        mut condition: impl FnMut(&str) -> bool,
    ) -> String {
        self.found(
            limit,
            "the line",
            self.output.wait(mark, limit, |line| condition(line).then(|| line.to_owned())),
        )
        .0
    }

    /// Waits for a line after the mark that contains the text.
    #[track_caller]
    pub fn wait_for_text_after(&self, mark: Mark, limit: Duration, text: &str) -> String {
        self.found(
            limit,
            text,
            self.output.wait(mark, limit, |line| line.contains(text).then(|| line.to_owned())),
        )
        .0
    }

    /// Waits for a line of JSON after the mark for which the condition holds, and returns the mark for the next search, so
    /// that no event is missed between two calls.
    #[track_caller]
    pub fn wait_for_event_after(
        &self,
        mark: Mark,
        limit: Duration,
        mut condition: impl FnMut(&Value) -> bool,
    ) -> (Value, Mark) {
        let select = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            condition(&event).then_some(event)
        };
        self.found(limit, "the event", self.output.wait(mark, limit, select))
    }

    /// The lines after the mark, of both streams, in the order in which they were read.
    pub fn lines_after(&self, mark: Mark) -> Vec<String> {
        self.output.lines().into_iter().skip(mark.0).map(|(_, line)| line).collect()
    }

    /// All lines of both streams, in the order in which they were read.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines().into_iter().map(|(_, line)| line).collect()
    }

    /// The standard output so far, without the last newline.
    pub fn standard_output(&self) -> String {
        self.stream(Stream::Standard)
    }

    /// The standard error so far, without the last newline.
    pub fn standard_error(&self) -> String {
        self.stream(Stream::Error)
    }

    /// Signals the program; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child();
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            if signal == Signal::KILL {
                self.orphans.lock().expect("no panic").extend(Process(child.id()).same_children());
            }
            kill_process(Pid::from_child(&child), signal).expect("signals a child");
        }
    }

    /// Waits for the program's end, and for all of its output.
    #[track_caller]
    pub fn wait_exit(&self, limit: Duration) -> ExitStatus {
        let status = within(limit, || self.child().try_wait().expect("waits for a child"));
        let Some(status) = status else {
            panic!("{} has not ended within {limit:?}", self.name);
        };
        self.wait_orphans();
        // A grandchild that holds the pipe open must not make this wait forever.
        self.output.wait_closed(Duration::from_secs(2));
        status
    }

    /// Sends SIGTERM to the program, and waits for its end.
    #[track_caller]
    pub fn terminate(&self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(limit)
    }

    /// Whether the program runs.
    pub fn is_running(&self) -> bool {
        self.child().try_wait().is_ok_and(|status| status.is_none())
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// What the kernel reports about it, or about its daemon if it is a parent.
    pub fn process(&self) -> Process {
        let own = Process(self.pid());
        own.same_children().pop().unwrap_or(own)
    }

    /// The daemon of a `pgsvid run`, whose parent is this program. Waits until there is one.
    #[track_caller]
    pub fn daemon(&self) -> Process {
        let daemon = within(LIMIT, || Process(self.pid()).same_children().pop());
        daemon.unwrap_or_else(|| panic!("{self} has no daemon"))
    }

    /// The process ID of its daemon.
    #[track_caller]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon().0
    }

    /// The kernel ends a killed parent's daemon, which may take a moment longer.
    fn wait_orphans(&self) {
        let orphans = self.orphans.lock().expect("no panic").clone();
        let _ = within(LIMIT, || (!orphans.iter().any(|one| one.is_running())).then_some(()));
    }

    #[track_caller]
    fn found<T>(&self, limit: Duration, what: &str, result: Result<T, Missing>) -> T {
        result.unwrap_or_else(|missing| match missing {
            Missing::TimeIsUp => panic!("{} has not written {what:?} within {limit:?}", self.name),
            Missing::Ended => {
                let status = self.wait_exit(Duration::from_secs(5));
                panic!("{} ended ({status}) without writing {what:?}", self.name)
            }
        })
    }

    fn stream(&self, wanted: Stream) -> String {
        let lines = self.output.lines().into_iter();
        let text: Vec<_> =
            lines.filter(|(stream, _)| *stream == wanted).map(|(_, line)| line).collect();
        text.join("\n")
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("nobody panicked with the lock")
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (process {})", self.name, self.pid())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Ok(child) = self.child.get_mut() {
            let _ = child.wait();
        }
        self.wait_orphans();
        if thread::panicking() {
            self.output.wait_closed(Duration::from_secs(1));
            eprintln!("--- {} wrote\n{}\n---", self.name, self.lines().join("\n"));
        }
    }
}

#[cfg(test)]
mod tests;
