//! Capabilities (`capabilities(7)`): what root may do beyond what owners and modes say. They are given up, for good.
//!
//! Root's files stay root's: what remains open is what belongs to root, or is open to everybody or to the group.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::{getegid, getgroups};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::{Error, Rules};

/// Keeps those that the rules need, as far as there are any, and returns them. `changes` says that files are given to
/// their group once they are made.
pub(super) fn reduce(rules: &Rules, changes: bool) -> Result<CapabilitySet, Error> {
    let sets = capabilities(None).map_err(Error::Capabilities)?;
    let held = sets.permitted;
    // As for every user but root. A service manager's filter may then deny the calls that change them.
    if (held | sets.effective | sets.inheritable).is_empty() {
        return Ok(held);
    }
    let mut needed = CapabilitySet::empty();
    if changes && rules.group.is_some_and(|group| !is_member(group)) {
        needed |= CapabilitySet::CHOWN;
    }
    // Looked at as it will be: without any.
    keep(CapabilitySet::empty(), held)?;
    if rules.files.iter().any(|file| is_closed(file)) {
        needed |= CapabilitySet::DAC_READ_SEARCH;
    }
    if rules.sockets.iter().any(|socket| is_closed_socket(socket)) {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    let kept = needed & held;
    // Only who holds it may change the bounding set, which counts for nobody who runs no programs.
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

/// A member may give its own files to the group, and needs no capability that is good for all files.
fn is_member(group: u32) -> bool {
    let groups = getgroups().unwrap_or_default();
    groups.into_iter().chain([getegid()]).any(|member| member.as_raw() == group)
}

/// Whether owner and mode keep us from reading it. What is not there is not closed. Nothing is opened: that can have effects.
fn is_closed(file: &Path) -> bool {
    denied(file, Access::READ_OK)
}

/// Whether owner and mode keep us from connecting to it: that takes the right to write.
fn is_closed_socket(socket: &Path) -> bool {
    denied(socket, Access::WRITE_OK)
}

fn denied(path: &Path, access: Access) -> bool {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS) == Err(Errno::ACCESS)
}
