//! Which file a server's Unix socket is: a server that is started again makes a new one.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

/// The path of a server's socket, and the file that was seen there last.
pub(super) struct Socket {
    path: PathBuf,
    seen: Option<Identity>,
}

/// Device, inode and time of creation, if the file system keeps one. Some give the inode of a removed file to the next one.
type Identity = (u64, u64, Option<SystemTime>);

impl Socket {
    /// The socket as it is now.
    pub(super) fn new(path: PathBuf) -> Self {
        let mut socket = Self { path, seen: None };
        socket.look();
        socket
    }

    /// Records the file that is there now; returns whether it is another one than before.
    pub(super) fn look(&mut self) -> bool {
        let now = self.now();
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Whether another file is there than at the last look, or none any more.
    pub(super) fn is_another(&self) -> bool {
        self.now() != self.seen
    }

    fn now(&self) -> Option<Identity> {
        let found = std::fs::symlink_metadata(&self.path).ok()?;
        Some((found.dev(), found.ino(), found.created().ok()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn p27_a_socket_that_is_recreated_is_another_and_one_that_is_touched_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(".s.PGSQL.5432");
        let listener = UnixListener::bind(&path).unwrap();
        let mut socket = Socket::new(path.clone());
        assert!(!socket.is_another());
        // As PostgreSQL does every 58 minutes.
        std::fs::File::open(place.path()).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        assert!(!socket.is_another());
        drop(listener);
        std::fs::remove_file(&path).unwrap();
        assert!(socket.is_another());
        // The file system may give it the number of the removed one.
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(socket.is_another() && socket.look() && !socket.look());
    }
}
