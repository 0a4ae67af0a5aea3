//! What the kernel counts of a process.

use std::fs;
use std::time::Duration;

/// Memory of a process, in KiB (`/proc/PID/smaps_rollup`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// All pages that are mapped and present.
    pub(crate) resident: u64,
    /// Those that no other process can share: heap, stacks, and what was written of the program's data.
    pub(crate) private: u64,
    /// Resident, each page divided by how many processes have it.
    pub(crate) share: u64,
}

pub(crate) fn memory(pid: u32) -> Memory {
    let text = read(pid, "smaps_rollup");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        figure.unwrap_or_else(|| panic!("the kernel tells no {name}"))
    };
    Memory {
        resident: field("Rss:"),
        // Not Private_Clean: pages of the program's file, as long as it runs only once.
        private: field("Private_Dirty:"),
        share: field("Pss:"),
    }
}

/// What the threads of a process have done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// How often one of them went to sleep, and so was woken.
    pub(crate) sleeps: u64,
    /// How often one was interrupted for somebody else.
    pub(crate) preempted: u64,
    /// Time on a processor, by the scheduler's own clock.
    pub(crate) busy: Duration,
}

impl Work {
    /// Threads that have ended are not in it.
    pub(crate) fn of(pid: u32) -> Self {
        let mut work = Self::default();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten() {
            let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let status = read("status");
            let count = |name: &str| -> u64 {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
            };
            work.sleeps += count("voluntary_ctxt_switches:");
            work.preempted += count("nonvoluntary_ctxt_switches:");
            let schedstat = read("schedstat");
            let nanoseconds = schedstat.split(' ').next().and_then(|text| text.parse().ok());
            work.busy += Duration::from_nanos(nanoseconds.unwrap_or(0));
        }
        work
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            sleeps: self.sleeps - before.sleeps,
            preempted: self.preempted - before.preempted,
            busy: self.busy.saturating_sub(before.busy),
        }
    }
}

fn read(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).expect("the kernel tells of a process")
}
