//! What the kernel tells of a running process, and the limits that it can be given.

use std::fs;
use std::path::Path;

use crate::{Account, spawn};

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

    /// Lets a process of [`Account::server`] open no descriptor whose number is `limit` or more; returns the former limit.
    #[track_caller]
    pub fn limit_descriptors(self, limit: u64) -> u64 {
        let text = self.read("limits");
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        let former = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        // An account may limit its own processes; root, in a container, may not limit others.
        let status = spawn::command(Path::new("/usr/bin/prlimit"), Account::server())
            .args(["--pid", &self.0.to_string(), &format!("--nofile={limit}:")])
            .status();
        assert!(status.expect("runs prlimit, of util-linux").success(), "limits {self:?}");
        former.expect("the kernel tells the limits")
    }

    fn read(self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a process that runs")
    }

    fn path(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0)
    }
}
