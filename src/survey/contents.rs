//! The contents of a file that somebody named: it may be anything.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads a regular file of at most 16 MiB, which may hold a key. Never waits: a FIFO is refused, not opened for long.
///
/// The error's text goes on from "cannot read FILE: ".
pub fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > LARGEST {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    // A buffer that grew would leave copies of a key behind.
    let size = usize::try_from(metadata.len()).unwrap_or(0);
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    file.take(metadata.len()).read_to_end(&mut text)?;
    Ok(text)
}
