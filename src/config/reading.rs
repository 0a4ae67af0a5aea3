//! Reads a configuration file, which may be a pipe.

use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use tokio::time::Instant;

use super::Error;

/// Largest file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// How long reading may take: a program may be writing the file.
const LONGEST: Duration = Duration::from_secs(15);

/// The text of a file, or why it cannot be read.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    read(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })
}

/// Reads a file as text. Fails if it is larger than 1 MiB, does not end within 15 s, or is not UTF-8. Both limits apply while it
/// is read, because it may be a pipe that a shell has put in the place of a file.
fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file =
        std::fs::File::from(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?);
    let begun = Instant::now();
    let mut text = Vec::new();
    loop {
        // A named pipe that nobody has opened for writing yet looks as if it had ended.
        let wait = LONGEST.saturating_sub(begun.elapsed());
        let mut waited = [PollFd::new(&file, PollFlags::IN)];
        let wait = Timespec::try_from(wait).map_err(|_| io::Error::other("the clock failed"))?;
        match poll(&mut waited, Some(&wait)) {
            Ok(0) => {
                let limit = LONGEST.as_secs();
                return Err(io::Error::other(format!("it has no end after {limit} s")));
            }
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut part = [0; 8192];
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if u64::try_from(text.len()).is_ok_and(|read| read > LARGEST) {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
    }
    String::from_utf8(text).map_err(|_| io::Error::other("it is not written in UTF-8"))
}
