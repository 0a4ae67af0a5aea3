//! Faults at system calls of a real program, by strace.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::{Account, Program};

const STRACE: &str = "/usr/bin/strace";
const LIMIT: Duration = Duration::from_secs(30);

/// A strace that is attached to a running process, until it is dropped.
///
/// A fault has the form of strace's `-e inject=`: `fsync:error=EIO:when=1`. Calls are counted from when this returns,
/// separately for each call and each thread.
#[derive(Debug)]
pub struct Strace(Program);

impl Strace {
    /// Attaches to all threads of a process, including those that it starts later.
    #[track_caller]
    pub fn attach(process: u32, fault: &str) -> Self {
        Self::start(&["-f"], &[process], fault, None)
    }

    /// Attaches only to these threads, and also watches these calls.
    #[track_caller]
    pub fn attach_to_threads(threads: &[u32], fault: &str, watched: &str) -> Self {
        Self::start(&[], threads, fault, Some(watched))
    }

    fn start(options: &[&str], processes: &[u32], fault: &str, watched: Option<&str>) -> Self {
        let mut arguments: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        arguments.extend(injection(fault, watched));
        for process in processes {
            arguments.extend(["-p".to_owned(), process.to_string()]);
        }
        // It must be allowed to inspect other accounts' processes.
        let strace = Program::spawn_as(Account::current(), STRACE, arguments, &[]);
        for process in processes {
            strace.wait_for_text(LIMIT, &format!("Process {process} attached"));
        }
        Self(strace)
    }

    /// Runs a program with faults from its start on, as [`Account::server`]. Its output is mixed with strace's, which goes to
    /// standard error, too; signals go to the program.
    #[track_caller]
    pub fn around(program: impl AsRef<Path>, arguments: &[String], fault: &str) -> Program {
        Program::spawn(STRACE, Self::all_around(&["-D", "-f"], program, arguments, fault), &[])
    }

    /// Runs a program with faults, but strace prints nothing: each line is the program's own.
    #[track_caller]
    pub fn quietly(program: impl AsRef<Path>, arguments: &[String], fault: &str) -> Program {
        let options = ["-D", "-f", "-q", "-o", "/dev/null"];
        Program::spawn(STRACE, Self::all_around(&options, program, arguments, fault), &[])
    }

    /// Runs only pgsvid's daemon with faults: see [`Program::spawn_daemon`].
    #[track_caller]
    pub fn around_daemon(
        program: impl AsRef<Path>,
        arguments: &[String],
        fault: &str,
    ) -> (Program, UnixStream) {
        Program::spawn_daemon(STRACE, Self::all_around(&["-D", "-f"], program, arguments, fault))
    }

    fn all_around(
        options: &[&str],
        program: impl AsRef<Path>,
        arguments: &[String],
        fault: &str,
    ) -> Vec<String> {
        let program = Program::reachable(program).display().to_string();
        let mut all: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        all.extend(injection(fault, None));
        all.extend(["--".to_owned(), program]);
        all.extend_from_slice(arguments);
        all
    }

    /// Whether a fault has been injected.
    pub fn has_injected(&self) -> bool {
        self.has_seen("(INJECTED)")
    }

    /// Whether a call that contains the text has been seen.
    pub fn has_seen(&self, text: &str) -> bool {
        self.0.lines().iter().any(|line| line.contains(text))
    }

    /// Detaches from the process.
    pub fn detach(self) {
        self.0.terminate(LIMIT);
    }
}

/// The arguments with which strace only stops at the calls in question, so that everything else runs at full speed.
fn injection(fault: &str, watched: Option<&str>) -> [String; 4] {
    let calls = fault.split(':').next().unwrap_or_default();
    let calls = watched.map_or(calls.to_owned(), |watched| format!("{calls},{watched}"));
    ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={fault}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_meets_a_fault() {
        let arguments = ["/etc/hostname".to_owned()];
        let cat = Strace::around("/bin/cat", &arguments, "read:error=EIO:when=2+");
        assert_eq!(cat.wait_exit(LIMIT).code(), Some(1));
        assert!(cat.standard_error().contains("Input/output error"), "{}", cat.standard_error());
    }

    #[test]
    fn a_running_program_meets_a_fault() {
        let cat = Program::spawn("/bin/sh", ["-c", "while :; do sleep 0.01; done"], &[]);
        let strace = Strace::attach(cat.pid(), "wait4:signal=KILL:when=1");
        assert!(!cat.wait_exit(LIMIT).success());
        drop(strace);
    }
}
