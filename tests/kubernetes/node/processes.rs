//! The processes in a container, which the node's administrator can see and stop.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use test_support::eventually;

use super::namespace::Pod;
use crate::LIMIT;

/// pgsvid's two processes in a pod: the container's first process, and the daemon.
pub(crate) struct Pgsvid {
    pub(crate) first: Pid,
    pub(crate) daemon: Pid,
}

impl Pgsvid {
    /// Once both run.
    #[track_caller]
    pub(crate) fn of(pod: &Pod) -> Self {
        eventually(LIMIT, "pgsvid and its daemon run", || Self::find(pod.uid()))
    }

    fn find(uid: &str) -> Option<Self> {
        let own = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse::<i32>().ok()?;
            let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            (cgroup.contains(uid) && arguments == b"/pgsvid\0run\0").then_some(pid)
        });
        let own: Vec<i32> = own.collect();
        let parent = |pid: i32| -> Option<i32> {
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            status.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
        };
        let daemon = own.iter().find(|pid| parent(**pid).is_some_and(|of| own.contains(&of)))?;
        Some(Self { first: Pid::from_raw(parent(*daemon)?)?, daemon: Pid::from_raw(*daemon)? })
    }
}

/// Sends a signal, as `kill` does.
pub(crate) fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap();
}
