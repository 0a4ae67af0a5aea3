//! The attributes of new files: the requested mode, and the group of the thread that creates them. If both are right from the
//! start, the process needs no system call that changes modes or groups.

use std::path::Path;

use nix::unistd::setfsgid;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::process::{
    Gid, getegid, getgroups, parent_process_death_signal, set_parent_process_death_signal,
};
use rustix::thread::set_thread_groups;

use super::Rules;

/// The mode of a test file, to see the effect of the directory and the umask: every bit that a file or a directory gets.
const WIDEST: u32 = 0o755;

/// Sets the group of this thread's new files, if possible. Returns whether new files in the directories get exactly this
/// group and the requested modes.
pub(super) fn is_exact(rules: &Rules) -> bool {
    if let Some(group) = rules.group {
        create_with_group(Gid::from_raw(group));
    }
    rules.write.iter().all(|directory| is_exact_in(directory, rules.group))
}

/// Sets the group of this thread's new files, if the kernel permits it. The effective group stays, because an agent may
/// identify the process by it.
fn create_with_group(group: Gid) {
    let Ok(mut groups) = getgroups() else { return };
    let before = groups.len();
    // A member of the old group can still use its files. A member of the new group may give its own files to it.
    for wanted in [getegid(), group] {
        if !groups.contains(&wanted) {
            groups.push(wanted);
        }
    }
    let at_parents_death = parent_process_death_signal().unwrap_or_default();
    // This needs `CAP_SETGID`, and a user namespace may forbid it.
    if groups.len() == before || set_thread_groups(&groups).is_ok() {
        // The call does not report failure. The group of a new file shows it.
        setfsgid(group.as_raw().into());
        // The kernel also resets the signal for the parent's death (`prctl(2)`).
        let _ = set_parent_process_death_signal(at_parents_death);
    }
}

/// Whether a new file in the directory gets the requested mode and this group, which a test file shows: a directory may set
/// its own group (setgid) and limit modes (a default ACL), and so may the mount. The test file has no name, and vanishes when
/// it is closed. File systems without such files, as NFS, return false.
fn is_exact_in(directory: &Path, group: Option<u32>) -> bool {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    openat(CWD, directory, flags, Mode::from_raw_mode(WIDEST)).and_then(fstat).is_ok_and(|stat| {
        stat.st_mode & 0o7777 == WIDEST && group.is_none_or(|group| group == stat.st_gid)
    })
}
