//! What a user ID means. In a user namespace (`user_namespaces(7)`, "Unmapped user and group IDs") all users without an ID
//! there appear under the same one: two files that belong to it need not belong to the same user.

use std::sync::OnceLock;

/// The ID under which users without an ID in this process's user namespace appear. `None` where every user has one, and where
/// the kernel does not say.
///
/// The first call reads files that a sandbox may close: make it before the sandbox is entered.
#[must_use]
pub fn nobody_here() -> Option<u32> {
    static NOBODY: OnceLock<Option<u32>> = OnceLock::new();
    *NOBODY.get_or_init(|| {
        let read = |path| std::fs::read_to_string(path).ok();
        let map = read("/proc/self/uid_map")?;
        // Every ID stands for itself here, so this one belongs to a single user.
        if map.split_whitespace().eq(["0", "0", "4294967295"]) {
            return None;
        }
        read("/proc/sys/kernel/overflowuid")?.trim().parse().ok()
    })
}
