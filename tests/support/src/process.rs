//! What the kernel reports about a running process, and the limits that can be set on it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Account, spawn};

/// Memory of a process, in KiB (`/proc/PID/smaps_rollup`).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// All pages that are mapped and present.
    pub resident: u64,
    /// What it has written: heap, stacks, and changed pages of the program's data. Pages of the program's file are not
    /// included, even while it runs only once: the kernel may drop them at any time.
    pub private: u64,
    /// Resident, each page divided by how many processes have it.
    pub share: u64,
}

/// What the threads of a process have done so far, without threads that have ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    /// How often one of them went to sleep, and so was woken.
    pub sleeps: u64,
    /// How often one was preempted by another thread.
    pub preempted: u64,
    /// Time on a processor, by the scheduler's own clock.
    pub busy: Duration,
}

/// A running process, by its ID.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Resident memory in KiB.
    #[track_caller]
    pub fn resident(self) -> u64 {
        figure(&self.read("status"), "VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    #[track_caller]
    pub fn peak(self) -> u64 {
        figure(&self.read("status"), "VmHWM:")
    }

    /// Its memory use.
    #[track_caller]
    pub fn memory(self) -> Memory {
        let text = self.read("smaps_rollup");
        Memory {
            resident: figure(&text, "Rss:"),
            // A program that was just built is dirty in the page cache, and private until another process maps it.
            private: figure(&text, "Anonymous:"),
            share: figure(&text, "Pss:"),
        }
    }

    /// Its work.
    #[track_caller]
    pub fn work(self) -> Work {
        let mut work = Work::default();
        for thread in self.threads() {
            // One may have ended since.
            let read = |name| fs::read_to_string(self.path(&format!("task/{thread}/{name}")));
            let (Ok(status), Ok(schedstat)) = (read("status"), read("schedstat")) else { continue };
            work.sleeps += figure(&status, "voluntary_ctxt_switches:");
            work.preempted += figure(&status, "nonvoluntary_ctxt_switches:");
            // Nanoseconds on a processor come first (Linux, Documentation/scheduler/sched-stats.rst).
            work.busy += Duration::from_nanos(figure(&schedstat, ""));
        }
        work
    }

    /// How many descriptors are open.
    #[track_caller]
    pub fn descriptors(self) -> usize {
        fs::read_dir(self.path("fd")).expect("a process that runs").count()
    }

    /// The IDs of its threads.
    #[track_caller]
    pub fn threads(self) -> Vec<u32> {
        let entries = fs::read_dir(self.path("task")).expect("a process that runs");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// The IDs of its threads whose names begin with the prefix.
    #[track_caller]
    pub fn threads_named(self, prefix: &str) -> Vec<u32> {
        let mut threads = self.threads();
        threads.retain(|thread| {
            // One may have ended since.
            fs::read_to_string(self.path(&format!("task/{thread}/comm")))
                .is_ok_and(|name| name.starts_with(prefix))
        });
        threads
    }

    /// The processes that its first thread has started and that nobody has waited for yet; empty if it has ended.
    pub fn children(self) -> Vec<Self> {
        let children = fs::read_to_string(self.path(&format!("task/{}/children", self.0)));
        let children = children.unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse().ok()).map(Self).collect()
    }

    /// The children that run the same program: the daemon, if this is a pgsvid parent.
    pub fn same_children(self) -> Vec<Self> {
        let program = |process: Self| fs::read_link(process.path("exe")).ok();
        let own = program(self);
        let mut children = self.children();
        children.retain(|child| own.is_some() && program(*child) == own);
        children
    }

    /// Whether it exists, and is not a zombie.
    pub fn is_running(self) -> bool {
        let status = fs::read_to_string(self.path("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains("(zombie)"))
    }

    /// Signals it; nothing happens if it has ended.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = self.0.try_into().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the children of its first thread, such as a shell's pipeline: killing the shell leaves those running.
    pub fn kill_children(self) {
        // The process and its children may have ended.
        self.children().into_iter().for_each(|child| child.signal(Signal::KILL));
    }

    /// Keeps a process of [`Account::server`] from opening a descriptor numbered `limit` or more; returns the old limit.
    #[track_caller]
    pub fn limit_descriptors(self, limit: u64) -> u64 {
        let text = self.read("limits");
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        let former = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        self.limit(&format!("--nofile={limit}:"));
        former.expect("the kernel tells the limits")
    }

    /// Keeps a process of [`Account::server`] from creating more threads. `RLIMIT_NPROC` counts those of all processes of the
    /// user, and only root may exceed it.
    #[track_caller]
    pub fn limit_threads(self) {
        self.limit("--nproc=1:");
    }

    /// An account may limit its own processes; root in a container may not limit others.
    #[track_caller]
    fn limit(self, what: &str) {
        let status = spawn::command(Path::new("/usr/bin/prlimit"), Account::server())
            .args(["--pid", &self.0.to_string(), what])
            .status();
        assert!(status.expect("runs prlimit, of util-linux").success(), "limits {self:?}");
    }

    fn read(self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a process that runs")
    }

    fn path(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0)
    }
}

impl Work {
    /// What was done since an earlier observation.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            sleeps: self.sleeps.saturating_sub(before.sleeps),
            preempted: self.preempted.saturating_sub(before.preempted),
            busy: self.busy.saturating_sub(before.busy),
        }
    }
}

/// The number after a name, in a file of named lines.
#[track_caller]
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("the kernel reports no {name:?}"))
}
