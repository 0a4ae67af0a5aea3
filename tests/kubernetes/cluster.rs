//! The components of the cluster, each a process that can be stopped, killed and started.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use test_support::eventually;

use crate::LIMIT;

/// Such as `kube-apiserver` or `spire-agent`: scripts/lib/cluster.sh names them.
pub(crate) struct Component(&'static str);

impl Component {
    pub(crate) fn named(name: &'static str) -> Self {
        Self(name)
    }

    fn file(&self, directory: &str) -> PathBuf {
        let cluster = std::env::var_os("PGSVID_CLUSTER");
        let cluster = PathBuf::from(cluster.expect("scripts/test-kubernetes runs these tests"));
        cluster.join(directory).join(self.0)
    }

    fn pid(&self) -> Pid {
        let pid = fs::read_to_string(self.file("pids")).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::KILL).unwrap();
        eventually(LIMIT, format_args!("{} is gone", self.0), || test_kill_process(pid).is_err());
    }

    /// Starts it again, with the same options.
    pub(crate) fn start(&self) {
        let before = self.pid();
        let status = Command::new("setsid").arg("--fork").arg(self.file("components")).status();
        assert!(status.unwrap().success());
        eventually(LIMIT, format_args!("{} runs", self.0), || self.pid() != before);
    }
}
