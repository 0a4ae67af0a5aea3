//! What the process forbids itself: core dumps, what its starter has left open, files and ports that it does not need, other
//! programs, and root's powers.
//!
//! [`enter`] is called once, before any other thread runs: threads inherit a sandbox, and a running thread cannot be put into
//! one. What the kernel does not support is left out and reported, never silently.

mod access;
mod arguments;
mod calls;
mod capabilities;
mod descriptors;
mod dumps;
mod making;

use std::os::fd::RawFd;
use std::path::PathBuf;

pub use access::Barriers;
pub use descriptors::Descriptors;
pub use dumps::{keep_out_of_dumps, stay_out_of_dumps};

/// The configuration of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether to enter it. If not, only core dumps are prevented.
    pub enabled: bool,
}

/// What the process may do after entering. Open descriptors stay usable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Directories below which files are created, read and removed. A rule applies to what exists now: a volume mounted there
    /// later is out of reach.
    pub write: Vec<PathBuf>,
    /// Files that are read, and directories beneath which files are read, but not listed.
    pub read: Vec<PathBuf>,
    /// TCP ports to connect to, at any address.
    pub connect: Vec<u16>,
    /// Unix sockets to connect to. Their directories count, because a server creates its socket again at each start.
    pub sockets: Vec<PathBuf>,
    /// Files that are read, if they exist now: a capability that this needs is kept.
    pub files: Vec<PathBuf>,
    /// Group of new files.
    pub group: Option<u32>,
    /// Modes of new files.
    pub modes: Vec<u32>,
    /// Descriptor of a socket that stays connected to its peer: it is neither connected again nor duplicated.
    pub connected: Option<RawFd>,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// What Landlock restricts.
    pub barriers: Barriers,
    /// Whether the system calls are limited (seccomp).
    pub calls: bool,
    /// Whether those that change the mode or the group of a file are left to the process: new files do not get the right
    /// ones by themselves.
    pub changes: bool,
    /// Names of the capabilities that were kept, without `CAP_`.
    pub capabilities: Vec<&'static str>,
    /// The rules' files and directories that do not exist: if they are created later, they stay out of reach.
    pub absent: Vec<PathBuf>,
}

impl InForce {
    /// What is forbidden, in words.
    #[must_use]
    pub fn denied(&self) -> Vec<&'static str> {
        self.parts().into_iter().filter_map(|(name, _, there)| there.then_some(name)).collect()
    }

    /// What cannot be forbidden, and what that would need: usually a newer kernel.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        let absent = |(name, since, there): (&str, &str, bool)| {
            (!there).then(|| format!("{name} ({since})"))
        };
        self.parts().into_iter().filter_map(absent).collect()
    }

    fn parts(&self) -> [(&'static str, &'static str, bool); 7] {
        [
            ("other files", "Landlock, Linux 5.13", self.barriers.files()),
            ("other TCP ports", "Landlock, Linux 6.7", self.barriers.ports()),
            ("devices", "Landlock, Linux 6.10", self.barriers.devices()),
            ("other processes", "Landlock, Linux 6.12", self.barriers.processes()),
            ("other Unix sockets", "Landlock, Linux 7.1", self.barriers.sockets()),
            ("other system calls", "seccomp", self.calls),
            (
                "modes and groups of files",
                "new files that have the configured ones at once",
                self.calls && !self.changes,
            ),
        ]
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Core dumps could not be prevented.
    #[error("cannot prevent core dumps: {0}")]
    Dumps(rustix::io::Errno),
    /// Other threads would stay outside.
    #[error(
        "{0} threads run already, and would stay outside of the sandbox: is a library preloaded?"
    )]
    Threads(usize),
    /// The kernel has Landlock, but refused the rules.
    #[error("the kernel refuses the Landlock rules")]
    Landlock(#[from] landlock::RulesetError),
    /// Root's powers could not be given up.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(rustix::io::Errno),
    /// The filter could not be built, or the kernel refused it.
    #[error("the kernel refuses the seccomp filter")]
    Seccomp(#[from] seccompiler::Error),
}

/// Enters the sandbox, for good. The kernel and the directories decide what is in force.
///
/// The umask must allow the bits of `modes`, and 0755 for directories; it is not changed afterwards.
pub fn enter(rules: &Rules) -> Result<InForce, Error> {
    alone()?;
    // First, because it needs capabilities.
    let changes = !making::is_exact(rules);
    // Second, because it uses what the others forbid.
    let kept = capabilities::reduce(rules, changes)?;
    let (barriers, absent) = access::restrict(rules)?;
    // Last, because it forbids the calls that the others need.
    let calls = calls::restrict(rules, changes)?;
    let capabilities = kept.iter_names().map(|(name, _)| name).collect();
    Ok(InForce { barriers, calls, changes, capabilities, absent })
}

/// Without /proc this is unknown, and no thread has been started anyway.
fn alone() -> Result<(), Error> {
    match std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) {
        0 | 1 => Ok(()),
        several => Err(Error::Threads(several)),
    }
}

#[cfg(test)]
mod tests {
    use landlock::ABI;

    use super::*;

    #[test]
    fn every_missing_feature_is_named_with_the_version_that_has_it() {
        let in_force = |abi, calls| InForce {
            barriers: Barriers::of(abi),
            calls,
            changes: false,
            capabilities: Vec::new(),
            absent: Vec::new(),
        };
        for (abi, barriers) in [
            (ABI::Unsupported, 0),
            (ABI::V1, 1),
            (ABI::V3, 1),
            (ABI::V4, 2),
            (ABI::V5, 3),
            (ABI::V6, 4),
            (ABI::V8, 4),
            (ABI::V9, 5),
            (ABI::V10, 5),
        ] {
            let with_calls = in_force(abi, true);
            assert_eq!(with_calls.denied().len(), barriers + 2, "{abi:?}");
            assert_eq!(with_calls.lacking().len(), 5 - barriers, "{abi:?}");
        }
        // Debian 12 has Linux 6.1.
        let some = in_force(ABI::V2, false);
        assert_eq!(some.denied(), ["other files"]);
        assert_eq!(
            some.lacking(),
            [
                "other TCP ports (Landlock, Linux 6.7)",
                "devices (Landlock, Linux 6.10)",
                "other processes (Landlock, Linux 6.12)",
                "other Unix sockets (Landlock, Linux 7.1)",
                "other system calls (seccomp)",
                "modes and groups of files (new files that have the configured ones at once)",
            ]
        );
        let changing = InForce { changes: true, ..in_force(ABI::V10, true) };
        assert_eq!(changing.lacking().len(), 1);
    }
}
