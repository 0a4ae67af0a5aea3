//! What the kernel tells of a running process, and the limits that it can be given.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A running process, by its number.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Resident memory in KiB.
    #[track_caller]
    pub fn resident(self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        figure.expect("the kernel tells the resident memory of a process that runs")
    }

    /// How many descriptors are open.
    #[track_caller]
    pub fn descriptors(self) -> usize {
        fs::read_dir(self.path("fd")).expect("a process that runs").count()
    }

    /// The numbers of its threads.
    #[track_caller]
    pub fn threads(self) -> Vec<u32> {
        let entries = fs::read_dir(self.path("task")).expect("a process that runs");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// The numbers of its threads whose name begins so.
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

    /// Lets the process open no descriptor whose number is `limit` or more; returns the former limit.
    #[track_caller]
    pub fn limit_descriptors(self, limit: u64) -> u64 {
        let text = self.read("limits");
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        let former: Vec<Option<u64>> = line
            .expect("the kernel tells the limits")
            .split_whitespace()
            .take(2)
            .map(|limit| limit.parse().ok())
            .collect();
        let process = i32::try_from(self.0).ok().and_then(Pid::from_raw).expect("a process");
        let new = Rlimit { current: Some(limit), maximum: former[1] };
        prlimit(Some(process), Resource::Nofile, new).expect("limits a process of ours");
        former[0].expect("a limit")
    }

    fn read(self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a process that runs")
    }

    fn path(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0)
    }
}
