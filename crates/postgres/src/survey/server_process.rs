//! The process behind a socket, found through the socket's lock file, and whether the data directory on this side is the
//! server's: in another container, or another mount namespace, the same path may lead to another directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{LARGEST_LOCK, is_same};
use crate::sql;
use pgsvid_base::files;

/// How much of a process's environment is read, in bytes.
const LARGEST_ENVIRONMENT: u64 = 1024 * 1024;
/// How many lines the lock file shares with `postmaster.pid`: process, directory, start and port.
const SHARED_LINES: usize = 4;

/// A socket's lock file (PostgreSQL: `miscinit.c`, `CreateLockFile`).
struct Lock {
    text: String,
    owner: u32,
}

impl Lock {
    /// The lock file of a socket; `None` if this process may not read it, or if its owner is not a user who may listen on the
    /// socket.
    fn of(socket: &sql::Settings) -> Option<Self> {
        let mut lock = socket.socket().into_os_string();
        lock.push(".lock");
        let (text, status) = files::text_and_status(Path::new(&lock), LARGEST_LOCK).ok()?;
        let owner = status.uid();
        sql::may_listen(socket, owner).then_some(Self { text, owner })
    }

    fn data(&self) -> Option<PathBuf> {
        self.text.lines().nth(1).map(PathBuf::from)
    }

    /// Whether the directory at its path on this side is certainly not the server's.
    fn is_elsewhere(&self) -> bool {
        let Some(data) = self.data() else { return false };
        let text = match files::text(&data.join("postmaster.pid"), LARGEST_LOCK) {
            Ok(text) => text,
            // If this process may not look, as in the sandbox, nothing is known.
            Err(error) => return error.kind() == ErrorKind::NotFound,
        };
        let shared = |text: &str| -> Vec<String> {
            text.lines().take(SHARED_LINES).map(|line| line.trim().to_owned()).collect()
        };
        shared(&text) != shared(&self.text)
            || self.process().is_some_and(|process| {
                // A postmaster works in its data directory.
                let cwd = process.join("cwd");
                std::fs::metadata(&cwd).is_ok() && !is_same(&cwd, &data)
            })
    }

    /// The server's process, if visible: in another PID namespace its ID may belong to another process.
    fn process(&self) -> Option<PathBuf> {
        let pid: u32 = self.text.lines().next()?.trim().parse().ok()?;
        let process = PathBuf::from(format!("/proc/{pid}"));
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        // The second number is the effective user ID.
        let uid: u32 = field("Uid")?.split_whitespace().nth(1)?.parse().ok()?;
        (field("Name")?.trim() == "postgres" && uid == self.owner).then_some(process)
    }
}

/// The server's data directory, if it is on this side.
pub(super) fn data_directory(socket: &sql::Settings) -> Option<PathBuf> {
    let lock = Lock::of(socket)?;
    if lock.is_elsewhere() { None } else { lock.data() }
}

/// Whether the server's data directory is certainly not the one at its path on this side. Then other paths may lead
/// elsewhere, too.
#[must_use]
pub fn is_elsewhere(socket: &sql::Settings) -> bool {
    Lock::of(socket).is_some_and(|lock| lock.is_elsewhere())
}

/// Whether the server certainly has the same mounts as this process: then a path that leads nowhere here leads nowhere there.
pub(super) fn has_the_same_mounts(socket: &sql::Settings) -> bool {
    let mounts = |process: &Path| std::fs::read_link(process.join("ns/mnt")).ok();
    let server = Lock::of(socket).and_then(|lock| mounts(&lock.process()?));
    server.is_some() && server == mounts(Path::new("/proc/self"))
}

/// The directory in the server's environment (`PGDATA`), which holds its configuration unless its command line names another
/// (PostgreSQL: `guc.c`, `SelectConfigFiles`). `None` if unknown.
pub(super) fn configuration_directory(socket: &sql::Settings) -> Option<PathBuf> {
    let lock = Lock::of(socket)?;
    let process = lock.process()?;
    if !is_same(&process.join("cwd"), &lock.data()?) {
        return None;
    }
    let mut environment = Vec::new();
    let file = File::open(process.join("environ")).ok()?;
    file.take(LARGEST_ENVIRONMENT).read_to_end(&mut environment).ok()?;
    // If it occurs several times, the first one counts (`getenv(3)`).
    let value =
        environment.split(|byte| *byte == 0).find_map(|one| one.strip_prefix(b"PGDATA="))?;
    Some(PathBuf::from(OsStr::from_bytes(value)))
}
