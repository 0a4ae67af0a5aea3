//! Restricts files, TCP ports and signals, by Landlock (`landlock(7)`).
//!
//! A rule applies to the file or directory that exists when it is made: a file that replaces it by a rename is another one.
//! So a file that will be replaced is read through its directory.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope, make_bitflags,
};

use super::{Error, Rules};

/// The newest version of Landlock that is requested. Since V6: Unix sockets by path (V9) and UDP (V10).
const NEWEST: ABI = ABI::V10;

/// What Landlock restricts, which depends on the kernel's version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barriers(ABI);

impl Barriers {
    pub(super) fn of(version: ABI) -> Self {
        Self(version)
    }

    /// Whether files are restricted to those of the rules.
    #[must_use]
    pub fn files(self) -> bool {
        self.0 >= ABI::V1
    }

    /// Whether TCP ports are restricted to those of the rules. None can be listened on.
    #[must_use]
    pub fn ports(self) -> bool {
        self.0 >= ABI::V4
    }

    /// Whether commands to devices (`ioctl`) are forbidden.
    #[must_use]
    pub fn devices(self) -> bool {
        self.0 >= ABI::V5
    }

    /// Whether signals to other processes, and their abstract Unix sockets, are forbidden.
    #[must_use]
    pub fn processes(self) -> bool {
        self.0 >= ABI::V6
    }

    /// Whether Unix sockets with a path are restricted to the directories of the rules.
    #[must_use]
    pub fn sockets(self) -> bool {
        self.0 >= ABI::V9
    }
}

/// Restricts this thread and everything that it starts. Also returns the files and directories that do not exist.
pub(super) fn restrict(rules: &Rules) -> Result<(Barriers, Vec<PathBuf>), Error> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    // Everything that publication does, and no more: no execution, devices, sockets or pipes.
    let publish = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir
    });
    let mut absent = Vec::new();
    for (paths, access) in
        [(&rules.write, publish), (&rules.read, BitFlags::from(AccessFs::ReadFile))]
    {
        for path in paths {
            ruleset = match allow(ruleset, path, access)? {
                (ruleset, true) => ruleset,
                (ruleset, false) => {
                    absent.push(path.clone());
                    ruleset
                }
            };
        }
    }
    for directory in rules.sockets.iter().filter_map(|socket| socket.parent()) {
        (ruleset, _) = allow(ruleset, directory, BitFlags::from(AccessFs::ResolveUnix))?;
    }
    for port in &rules.connect {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let status = ruleset.restrict_self()?;
    let barriers = match (status.ruleset, status.landlock) {
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, .. },
        ) => Barriers::of(effective_abi),
        _ => Barriers::of(ABI::Unsupported),
    };
    Ok((barriers, absent))
}

/// Adds a rule. Returns false if the path cannot be opened, usually because it does not exist.
fn allow(
    ruleset: RulesetCreated,
    directory: &Path,
    access: BitFlags<AccessFs>,
) -> Result<(RulesetCreated, bool), Error> {
    match PathFd::new(directory) {
        Ok(opened) => Ok((ruleset.add_rule(PathBeneath::new(opened, access))?, true)),
        Err(_) => Ok((ruleset, false)),
    }
}
