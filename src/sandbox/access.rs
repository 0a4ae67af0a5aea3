//! Files, TCP ports and signals, by Landlock (`landlock(7)`).
//!
//! A rule is tied to the file or directory that is there when it is made: a path that is replaced by a rename is
//! another one. So a file that will be replaced is read through its directory.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope, make_bitflags,
};

use super::{Error, Rules};

/// The newest version of Landlock whose rights are asked for. Since V6: Unix sockets by path (V9) and UDP (V10).
const NEWEST: ABI = ABI::V10;

/// What Landlock keeps out of reach: it depends on the version that the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barriers(ABI);

impl Barriers {
    pub(super) fn of(version: ABI) -> Self {
        Self(version)
    }

    /// Whether files other than those of the rules are.
    #[must_use]
    pub fn files(self) -> bool {
        self.0 >= ABI::V1
    }

    /// Whether TCP ports other than those of the rules are. None can be listened on.
    #[must_use]
    pub fn ports(self) -> bool {
        self.0 >= ABI::V4
    }

    /// Whether commands to devices (`ioctl`) are.
    #[must_use]
    pub fn devices(self) -> bool {
        self.0 >= ABI::V5
    }

    /// Whether signals to, and abstract Unix sockets of, other processes are.
    #[must_use]
    pub fn processes(self) -> bool {
        self.0 >= ABI::V6
    }

    /// Whether Unix sockets that have a path, and lie beside none of the rules', are.
    #[must_use]
    pub fn sockets(self) -> bool {
        self.0 >= ABI::V9
    }
}

/// Restricts this thread and whatever it starts. Also returns what does not exist of files and directories.
pub(super) fn restrict(rules: &Rules) -> Result<(Barriers, Vec<PathBuf>), Error> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    // Everything that publication does, and no more: no execution, no device, no socket, no pipe.
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

/// Says whether there was something to allow.
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
