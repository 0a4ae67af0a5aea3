//! The contents of a file that somebody named: it may be anything.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Largest file that [`contents`] reads, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What a file is opened with that may be anything: neither a FIFO nor a terminal is waited for.
pub(super) const CAREFULLY: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Reads a regular file of at most 16 MiB, which may hold a key. Never waits: a FIFO is refused, not opened for long.
///
/// The error's text goes on from "cannot read FILE: ".
pub fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read(path, LARGEST)
}

/// Reads a regular file of at most `most` bytes, which is text: what is no UTF-8 is replaced. In the same way.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path, most)?).into_owned())
}

/// Reads a regular file of at most `most` bytes. In the same way.
pub fn read(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Opening alone can have effects, such as a watchdog's; so it is looked at before, and what was opened afterwards.
    regular(&std::fs::metadata(path)?)?;
    read_open(&open(path, CAREFULLY)?, most)
}

/// The same of text that was written there: no link of either kind leads to it. And the number of the file's owner.
pub fn text_and_owner(path: &Path, most: u64) -> io::Result<(String, u32)> {
    regular(&std::fs::symlink_metadata(path)?)?;
    let file = open(path, CAREFULLY | OFlags::NOFOLLOW)?;
    let metadata = file.metadata()?;
    if metadata.nlink() != 1 {
        return Err(io::Error::other("it has another name (a hard link)"));
    }
    let text = read_open(&file, most)?;
    Ok((String::from_utf8_lossy(&text).into_owned(), metadata.uid()))
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    File::options().read(true).custom_flags(flags).open(path)
}

/// Reads an open file from its beginning, if it is a regular one of at most `most` bytes.
pub(super) fn read_open(file: &File, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let metadata = file.metadata()?;
    regular(&metadata)?;
    if metadata.len() > most {
        return Err(io::Error::other(format!("it is larger than {}", amount(most))));
    }
    // A buffer that grew would leave copies of a key behind; and what is appended meanwhile is not read.
    let size = usize::try_from(metadata.len()).unwrap_or(0);
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    file.take(metadata.len()).read_to_end(&mut text)?;
    Ok(text)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(())
}

fn amount(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1024 * 1024;
    if bytes >= MEBIBYTE {
        format!("{} MiB", bytes / MEBIBYTE)
    } else {
        format!("{} KiB", bytes / 1024)
    }
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
        assert_eq!(text(&path, 8192).unwrap_err().to_string(), "it is larger than 8 KiB");
    }

    #[test]
    fn a06_what_is_no_regular_file_is_neither_waited_for_nor_read() {
        let directory = tempfile::tempdir().unwrap();
        refuses(directory.path(), "it is a directory");
        let fifo = directory.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        refuses(&fifo, "it is no regular file");
        // Which would never end.
        refuses(Path::new("/dev/zero"), "it is no regular file");
    }
}
