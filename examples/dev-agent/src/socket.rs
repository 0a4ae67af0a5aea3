//! The socket file: made as SPIRE's agent makes it, and taken away.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::Error;

/// `sun_path` has 108 bytes, the last one a zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// A socket that this process has made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: Option<u64>,
}

impl SocketFile {
    /// Binds the path. What a killed agent has left there is replaced.
    pub(crate) fn bind(path: &Path) -> Result<(Self, UnixListener), Error> {
        let failed = |source| Error::Socket { path: path.to_owned(), source };
        let length = path.as_os_str().as_bytes().len();
        if length > LONGEST_PATH {
            let path = path.to_owned();
            return Err(Error::PathTooLong { path, length });
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(|source| no_directory(path, source))?;
        // Any user may talk to it, as with SPIRE's agent, which tells callers apart by attestation.
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let file = Self { path: path.to_owned(), inode: inode(path) };
        Ok((file, listener))
    }

    /// Removes the file, unless it is another's by now.
    pub(crate) fn unlink(&self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            // Nobody can be helped if this fails; the next agent replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How often an answer on the socket is doubted, and for how long each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

fn remove_stale(path: &Path) -> Result<(), Error> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    if !metadata.file_type().is_socket() {
        return Err(Error::NotASocket { path });
    }
    // A process that another thread starts has our earlier socket until it executes its program.
    let mut answer = UnixStream::connect(&path);
    for _ in 0..TRIES {
        if answer.is_err() {
            break;
        }
        sleep(PAUSE);
        answer = UnixStream::connect(&path);
    }
    match answer {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(&path).map_err(|source| Error::Socket { path, source })
        }
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::Socket { path, source })
        }
        _ => Err(Error::InUse { path }),
    }
}

fn no_directory(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match path.parent() {
        Some(directory) if source.kind() == io::ErrorKind::NotFound => {
            Error::NoDirectory { directory: directory.to_owned(), path }
        }
        _ => Error::Socket { path, source },
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let (first, listener) = SocketFile::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o777);
        assert!(matches!(SocketFile::bind(&path), Err(Error::InUse { .. })));

        drop(listener);
        let (second, _listener) = SocketFile::bind(&path).unwrap();
        assert_ne!(first.inode, None);
        second.unlink();
        assert!(!path.exists());
    }

    #[test]
    fn errors_name_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let error = |name: &str| {
            let path = directory.path().join(name);
            SocketFile::bind(&path).unwrap_err().to_string()
        };
        assert!(error("missing/agent.sock").contains("run mkdir -p"));
        assert!(error(&"x".repeat(120)).contains("choose a shorter one"));
        fs::create_dir(directory.path().join("taken")).unwrap();
        assert!(error("taken").contains("is not a socket"));
    }
}
