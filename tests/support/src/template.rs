//! One `initdb` for each test process; clusters are copies of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::directory::session_directory;
use crate::{Account, Directory, Installation, spawn};

/// Copies a fresh data directory, owner and modes included, to a path that does not exist yet.
pub(crate) fn copy_to(data_directory: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let template = TEMPLATE.get_or_init(initialize);
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([template.as_path(), data_directory])
        .status()
        .expect("runs cp");
    assert!(status.success(), "cannot copy {} to {}", template.display(), data_directory.display());
}

fn initialize() -> PathBuf {
    // `initdb` creates the data directory itself, and may only do so below a directory of its own.
    let parent = std::mem::ManuallyDrop::new(Directory::new());
    debug_assert!(parent.path().starts_with(session_directory()));
    let template = parent.join("template");
    let output = spawn::command(&Installation::found().program("initdb"), Account::server())
        .args(["--username=postgres", "--auth-local=peer", "--auth-host=reject"])
        .args(["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"])
        // Leaves 1 MiB to copy instead of 16 MiB.
        .args(["--wal-segsize=1", "--pgdata"])
        .arg(&template)
        .output()
        .expect("runs initdb");
    assert!(
        output.status.success(),
        "initdb failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    template
}
