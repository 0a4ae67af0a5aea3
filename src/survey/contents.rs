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

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[track_caller]
    fn refuses(path: &Path, reason: &str) {
        assert_eq!(contents(path).unwrap_err().to_string(), reason);
    }

    #[test]
    fn a_file_is_read_whole_up_to_the_limit_and_not_at_all_beyond_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create(&path).unwrap();
        for size in [0, 1, LARGEST] {
            file.set_len(size).unwrap();
            assert_eq!(contents(&path).unwrap().len() as u64, size);
        }
        file.set_len(LARGEST + 1).unwrap();
        refuses(&path, "it is larger than 16 MiB");
    }

    #[test]
    fn what_is_no_regular_file_is_neither_waited_for_nor_read() {
        let directory = tempfile::tempdir().unwrap();
        refuses(directory.path(), "it is a directory");
        let fifo = directory.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        refuses(&fifo, "it is no regular file");
        // Which would never end.
        refuses(Path::new("/dev/zero"), "it is no regular file");
    }
}
