//! The contents of a file whose path somebody else chose, so that it may be anything.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

/// Largest file that [`contents`] reads, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// How much of a long file is read at once, in bytes.
const READ_AT_ONCE: usize = 256 * 1024;

/// Flags for opening a file that may be anything: opening waits for neither a FIFO nor a terminal.
const CAREFULLY: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Reads a regular file of at most 16 MiB, which may hold a key. Never waits: a FIFO is refused.
///
/// The error's text follows "cannot read FILE: ".
pub fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read(path, LARGEST)
}

/// Reads a regular file of at most `most` bytes as text, with U+FFFD for what is not UTF-8. Otherwise as [`contents`].
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path, most)?).into_owned())
}

/// Reads a regular file of at most `most` bytes. Otherwise as [`contents`].
pub fn read(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    read_open(&open(CWD, path.as_os_str(), OFlags::empty())?, most)
}

/// Reads text, and the owner, mode and time of the open file. Refuses symbolic links and files with several hard links. Otherwise as
/// [`text`].
pub fn text_and_status(path: &Path, most: u64) -> io::Result<(String, Metadata)> {
    let file = open(CWD, path.as_os_str(), OFlags::NOFOLLOW)?;
    let status = file.metadata()?;
    if status.nlink() != 1 {
        return Err(io::Error::other("it has a second name (a hard link)"));
    }
    let text = read_open(&file, most)?;
    Ok((String::from_utf8_lossy(&text).into_owned(), status))
}

/// The first bytes of a regular file, at most `most`. Otherwise as [`contents`].
pub fn beginning(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(CWD, path.as_os_str(), OFlags::empty())?;
    let length = file.metadata()?.len();
    let mut found = Vec::new();
    file.take(most.min(length)).read_to_end(&mut found)?;
    Ok(found)
}

/// The lines in the last `most` bytes of a regular file, without their ends; the first one may lack its beginning. Of a line
/// that is longer than `longest` bytes the rest is left out, so that no line takes more memory. Otherwise as [`contents`].
pub fn last_lines(
    path: &Path,
    most: u64,
    longest: u64,
) -> io::Result<impl Iterator<Item = Vec<u8>>> {
    let mut file = open(CWD, path.as_os_str(), OFlags::empty())?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    // A file of the kernel, such as /proc/kmsg, has no length, and reading it can have effects.
    let mut file = BufReader::with_capacity(READ_AT_ONCE, file.take(most.min(length)));
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = file.by_ref().take(longest).read_until(b'\n', &mut line).ok()?;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else {
            file.skip_until(b'\n').ok()?;
        }
        (read > 0).then_some(line)
    }))
}

/// Opens a regular file, and nothing else. Opening a device can already have effects, for example on a watchdog. So the file is
/// first opened with `O_PATH`, which has no effects, then its type is checked, and then it is opened for reading through that
/// descriptor, because the name may lead elsewhere by then.
pub(super) fn open(within: impl AsFd, name: &OsStr, more: OFlags) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | more;
    let held = retry_on_intr(|| rustix::fs::openat(&within, name, flags, Mode::empty()))?;
    regular(&rustix::fs::fstat(&held)?)?;
    let by_descriptor = format!("/proc/self/fd/{}", held.as_raw_fd());
    match retry_on_intr(|| rustix::fs::open(&by_descriptor, CAREFULLY, Mode::empty())) {
        // Without /proc the name must do.
        Err(Errno::NOENT) => {
            let flags = CAREFULLY | more;
            Ok(retry_on_intr(|| rustix::fs::openat(&within, name, flags, Mode::empty()))?.into())
        }
        opened => Ok(opened?.into()),
    }
}

/// Reads an open regular file of at most `most` bytes from its beginning.
pub(super) fn read_open(file: &File, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let stat = rustix::fs::fstat(file)?;
    regular(&stat)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > most {
        return Err(io::Error::other(format!("it is larger than {}", amount(most))));
    }
    // A growing buffer would leave copies of a key in memory. Bytes appended in the meantime are not read.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
    file.take(size).read_to_end(&mut text)?;
    Ok(text)
}

fn regular(stat: &Stat) -> io::Result<()> {
    let is = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "it is a directory",
        FileType::Symlink => "it is a symbolic link",
        _ => "it is not a regular file",
    };
    Err(io::Error::other(is))
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
    use std::sync::atomic::{AtomicBool, Ordering};

    use inotify::{Inotify, WatchMask};
    use rustix::fs::{RenameFlags, mknodat, renameat_with};

    use super::super::Directory;
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
        refuses(&fifo, "it is not a regular file");
        // Reading it would never end.
        refuses(Path::new("/dev/zero"), "it is not a regular file");
    }

    /// Reading `/proc/kmsg` takes the kernel's messages away from the program that waits for them.
    #[test]
    fn b65_of_a_file_without_a_length_nothing_is_read() {
        let path = Path::new("/proc/self/status");
        assert!(!std::fs::read(path).unwrap().is_empty());
        assert_eq!(last_lines(path, 1 << 20, 100).unwrap().next(), None);
        assert_eq!(read(path, 1 << 20).unwrap().as_slice(), b"");
    }

    #[test]
    fn a06_what_takes_the_place_of_a_regular_file_meanwhile_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("file"), directory.path().join("other"));
        drop(File::create(&path).unwrap());
        mknodat(CWD, &other, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut inotify = Inotify::init().unwrap();
        inotify.watches().add(&other, WatchMask::OPEN).unwrap();
        let opened = Directory::open(directory.path()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                }
            });
            for _ in 0..20_000 {
                let _ = contents(&path);
                let _ = text_and_status(&path, 1);
                let _ = opened.read(OsStr::new("file"), 1);
            }
            done.store(true, Ordering::Relaxed);
        });
        let events = inotify.read_events(&mut [0; 1024]).map(Iterator::count);
        let none = events.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(none, "the pipe was opened");
    }
}
