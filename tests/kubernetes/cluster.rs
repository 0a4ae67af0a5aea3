//! The components of the cluster, each a process that can be stopped, killed and started.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::eventually;

/// The directory of the cluster.
pub(crate) fn directory() -> PathBuf {
    let cluster = std::env::var_os("PGSVID_CLUSTER");
    PathBuf::from(cluster.expect("scripts/test-kubernetes runs these tests"))
}

/// Such as `kube-apiserver` or `spire-agent`: scripts/lib/cluster.sh names them.
pub(crate) struct Component(&'static str);

impl Component {
    pub(crate) fn named(name: &'static str) -> Self {
        Self(name)
    }

    fn file(&self, of: &str) -> PathBuf {
        directory().join(of).join(self.0)
    }

    fn pid(&self) -> Pid {
        let pid = fs::read_to_string(self.file("pids")).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    /// Ends it at once. It is away until [`Away::start`].
    pub(crate) fn kill(self) -> Away {
        let pid = self.pid();
        kill_process(pid, Signal::KILL).unwrap();
        eventually(format_args!("{} is gone", self.0), || test_kill_process(pid).is_err());
        Away { component: self, pid }
    }
}

/// A component that was killed. It runs again when this is dropped, for the tests that come next.
pub(crate) struct Away {
    component: Component,
    pid: Pid,
}

impl Away {
    /// Starts it, with the same options.
    pub(crate) fn start(self) {
        drop(self);
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let component = &self.component;
        let start = component.file("components");
        let status = Command::new("setsid").arg("--fork").arg(start).status();
        assert!(status.unwrap().success());
        eventually(format_args!("{} runs", component.0), || component.pid() != self.pid);
    }
}
