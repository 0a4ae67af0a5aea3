//! What new files get: the mode that is asked for, and the group of the thread that makes them. Where this is what they have
//! to get, nothing has to be changed afterwards, and no call that changes modes or groups is left to the process.

use std::path::Path;

use nix::unistd::setfsgid;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::process::{
    Gid, getegid, getgroups, parent_process_death_signal, set_parent_process_death_signal,
};
use rustix::thread::set_thread_groups;

use super::Rules;

/// What a file is asked for to see what the directory and the umask make of it: every bit that a file or a directory gets.
const WIDEST: u32 = 0o755;

/// Lets the files of this thread, and of those that it starts, get their group, as far as this is possible; says whether
/// new files in the directories get exactly this group and the modes that are asked for.
pub(super) fn is_exact(rules: &Rules) -> bool {
    if let Some(group) = rules.group {
        take_on(Gid::from_raw(group));
    }
    rules.write.iter().all(|directory| gives(directory, rules.group))
}

/// For files alone: an agent may know the process by its effective group, and that stays.
fn take_on(group: Gid) {
    let Ok(mut groups) = getgroups() else { return };
    let before = groups.len();
    // The former group's files stay within reach; and a member may give its own files to the group.
    for wanted in [getegid(), group] {
        if !groups.contains(&wanted) {
            groups.push(wanted);
        }
    }
    let at_parents_death = parent_process_death_signal().unwrap_or_default();
    // It takes `CAP_SETGID`, and a user namespace may forbid it.
    if groups.len() == before || set_thread_groups(&groups).is_ok() {
        // It does not say whether it has failed. What a file gets does.
        setfsgid(group.as_raw().into());
        // And the kernel forgets what it does when the parent dies (`prctl(2)`).
        let _ = set_parent_process_death_signal(at_parents_death);
    }
}

/// A directory may give its own group (setgid) and limit modes (a default ACL), and so may the mount. The file has no name,
/// and is gone once it is closed. Where there is no such file, as on NFS, it is not known.
fn gives(directory: &Path, group: Option<u32>) -> bool {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    openat(CWD, directory, flags, Mode::from_raw_mode(WIDEST)).and_then(fstat).is_ok_and(|stat| {
        stat.st_mode & 0o7777 == WIDEST && group.is_none_or(|group| group == stat.st_gid)
    })
}
