//! Starts this program again, as another process.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// This very program, even after another one was installed in its place.
const ITSELF: &str = "/proc/self/exe";

/// A command that starts this very program with other arguments.
pub(super) fn itself(arguments: &[OsString]) -> Command {
    let name = arguments.first().map_or(OsStr::new("pgsvid"), OsString::as_os_str);
    // Without /proc, by its name.
    let program = if Path::new(ITSELF).exists() { OsStr::new(ITSELF) } else { name };
    let mut command = Command::new(program);
    command.arg0(name);
    command
}
