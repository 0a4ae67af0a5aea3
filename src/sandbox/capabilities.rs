//! Capabilities (`capabilities(7)`): root's powers beyond owners and modes. They are given up for good.
//!
//! Files of root stay accessible by owner and mode; other files only if they are open to everybody or to the group.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::{getegid, getgroups};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::{Error, Rules};

/// Keeps the capabilities that the rules need, if the process has them, and returns them. `changes` means that files are
/// given to their group after they are created.
pub(super) fn reduce(rules: &Rules, changes: bool) -> Result<CapabilitySet, Error> {
    let sets = capabilities(None).map_err(Error::Capabilities)?;
    let held = sets.permitted;
    // Users other than root have none. Then nothing must be changed, because a service manager's filter may forbid these calls.
    if (held | sets.effective | sets.inheritable).is_empty() {
        return Ok(held);
    }
    let mut needed = CapabilitySet::empty();
    if changes && rules.group.is_some_and(|group| !is_member(group)) {
        needed |= CapabilitySet::CHOWN;
    }
    // Checks access without any capability, because the process will have none.
    keep(CapabilitySet::empty(), held)?;
    if rules.files.iter().any(|file| is_closed(file)) {
        needed |= CapabilitySet::DAC_READ_SEARCH;
    }
    if rules.sockets.iter().any(|socket| is_closed_socket(socket)) {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    let kept = needed & held;
    // Only a process with the capability may change the bounding set, which does not matter for others, because they run no
    // programs.
    keep(held & CapabilitySet::SETPCAP, held)?;
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if capability_is_in_bounding_set(one) == Ok(true) {
            match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                Err(Errno::PERM) => break,
                Err(error) => return Err(Error::Capabilities(error)),
            }
        }
    }
    // A kernel before 4.3 has no such set.
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(Error::Capabilities(error)),
    }
    keep(kept, kept)?;
    Ok(kept)
}

fn keep(effective: CapabilitySet, permitted: CapabilitySet) -> Result<(), Error> {
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable })
        .map_err(Error::Capabilities)
}

/// A member may give its own files to the group without a capability, which would apply to all files.
fn is_member(group: u32) -> bool {
    let groups = getgroups().unwrap_or_default();
    groups.into_iter().chain([getegid()]).any(|member| member.as_raw() == group)
}

/// Whether owner and mode deny reading the file. False for a missing file. Nothing is opened, because opening can have
/// effects.
fn is_closed(file: &Path) -> bool {
    denied(file, Access::READ_OK)
}

/// Whether owner and mode deny connecting to the socket, which requires write permission.
fn is_closed_socket(socket: &Path) -> bool {
    denied(socket, Access::WRITE_OK)
}

fn denied(path: &Path, access: Access) -> bool {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS) == Err(Errno::ACCESS)
}
