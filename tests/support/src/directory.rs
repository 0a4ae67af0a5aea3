//! Temporary directories, all below one that disappears with the test process.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Account;

/// Leaves room for `/s/.s.PGSQL.12345.lock` and similar names: a socket's path may have 107 bytes.
const LONGEST_PARENT: usize = 40;

/// A temporary directory of [`Account::server`], mode 0755, with a path short enough for sockets.
/// It is removed when dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Creates an empty directory.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = Self { path: session_directory().join(number.to_string()) };
        directory.make(&directory.path);
        directory
    }

    /// Creates an empty directory elsewhere, such as on another file system. It stays if the process is killed.
    pub fn below(parent: &Path) -> Self {
        let made = tempfile::Builder::new().prefix("pgsvid-").tempdir_in(parent);
        let directory = Self { path: made.expect("makes a temporary directory").keep() };
        fs::set_permissions(&directory.path, Permissions::from_mode(0o755)).expect("sets a mode");
        own(&directory.path, Account::server().uid(), Account::server().gid());
        directory
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates a subdirectory with the same owner and mode.
    pub fn subdirectory(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        self.make(&path);
        path
    }

    /// Writes a file that belongs to [`Account::server`], in place if it exists.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let account = Account::server();
        self.write_owned(name, content, mode, account.uid(), account.gid())
    }

    /// Writes a file with that owner, in place if it exists. Only root may choose a foreign owner.
    pub fn write_owned(
        &self,
        name: &str,
        content: impl AsRef<[u8]>,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> PathBuf {
        let path = self.path.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        file.write_all(content.as_ref()).expect("writes a file");
        own(&path, uid, gid);
        file.set_permissions(Permissions::from_mode(mode)).expect("sets a mode");
        path
    }

    #[expect(clippy::unused_self, reason = "only a directory that lives has subdirectories")]
    fn make(&self, path: &Path) {
        fs::create_dir(path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("sets a mode");
        own(path, Account::server().uid(), Account::server().gid());
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(formatter)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The session's cleanup removes what cannot be removed now.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn own(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid))
        .unwrap_or_else(|error| panic!("cannot give {} to {uid}:{gid}: {error}", path.display()));
}

/// The directory above all others of this process. Statics are not dropped, and a test may be killed, so a separate process
/// removes it as soon as the pipe from this one closes.
pub(crate) fn session_directory() -> &'static Path {
    static SESSION: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (path, _) = SESSION.get_or_init(|| {
        let parent = Some(std::env::temp_dir())
            .filter(|parent| parent.as_os_str().len() <= LONGEST_PARENT && parent.is_absolute())
            .unwrap_or_else(|| PathBuf::from("/tmp"));
        let path = tempfile::Builder::new()
            .prefix("pgsvid-")
            .tempdir_in(parent)
            .expect("makes a temporary directory")
            .keep();
        // Independent of the umask: the servers' account must be able to enter it.
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("sets a mode");
        // A dying PostgreSQL may still write, so there is more than one try.
        let script = r#"cat; for try in 1 2 3 4 5; do rm -rf -- "$0" && break; sleep 0.5; done"#;
        let broom = Command::new("/bin/sh")
            .args(["-c", script])
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the test, and not for the process that cleans up after it.
            .process_group(0)
            .spawn()
            .expect("starts /bin/sh");
        (path, broom)
    });
    path
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn belongs_to_the_server_and_disappears() {
        let directory = Directory::new();
        let file = directory.write("key", "text", 0o640);
        let (above, below) =
            (fs::metadata(directory.path()).unwrap(), fs::metadata(&file).unwrap());
        assert_eq!((above.mode() & 0o7777, above.uid()), (0o755, Account::server().uid()));
        assert_eq!((below.mode() & 0o7777, below.uid()), (0o640, Account::server().uid()));
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.exists());
    }
}
