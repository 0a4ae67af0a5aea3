//! A directory that stays the one that was opened, even if its path leads elsewhere later.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FlockOperation, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;
use zeroize::Zeroizing;

use super::attributes::Attributes;
use super::reading::{open, read_open};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open directory. Every operation uses its descriptor, so its path is not resolved again.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    /// Opens the directory that a path leads to. Links that exist now are resolved first. A link that is put into the
    /// resolved path afterwards is an error.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_resolved(std::fs::canonicalize(path)?)
    }

    /// Opens the directory of the file that a path leads to, in the same way. Returns the file's name in it, too.
    pub fn of_file(path: &Path) -> io::Result<(Self, OsString)> {
        let path = std::fs::canonicalize(path)?;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("it is a directory"));
        };
        Ok((Self::open_resolved(directory.to_owned())?, name.to_owned()))
    }

    fn open_resolved(path: PathBuf) -> io::Result<Self> {
        let flags = DIRECTORY | OFlags::RDONLY;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened =
            retry_on_intr(|| rustix::fs::openat2(CWD, &path, flags, Mode::empty(), resolve));
        let fd = match opened {
            // Linux before 5.6, and filters that do not know the call or deny it.
            Err(Errno::NOSYS | Errno::PERM) => walk(&path, flags)?,
            opened => opened?,
        };
        Ok(Self { path, fd })
    }

    /// Its path when it was opened, without links; for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// User ID of its owner.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&self.fd)?.st_uid)
    }

    /// Fails unless this process can create and replace files in it.
    pub fn is_writable(&self) -> io::Result<()> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(&self.fd, ".", access, AtFlags::EACCESS)?)
    }

    /// Takes the `flock` of the directory itself; false if another process has it. Dropping the value releases it.
    pub fn lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a regular file in it, of at most `most` bytes. Follows no link, and never waits.
    pub fn read(&self, name: &OsStr, most: u64) -> io::Result<(Zeroizing<Vec<u8>>, Attributes)> {
        let name = plain(name)?;
        let file = open(&self.fd, name, OFlags::NOFOLLOW)?;
        let contents = read_open(&file, most)?;
        Ok((contents, Attributes::of(&file)?))
    }

    /// Creates a file with these attributes, or with mode 0600. It belongs to this process's user. If that fails, nothing is
    /// left behind.
    pub fn create(
        &self,
        name: &OsStr,
        bytes: &[u8],
        attributes: Option<&Attributes>,
    ) -> io::Result<()> {
        let name = plain(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let closed = Mode::RUSR | Mode::WUSR;
        let opened = retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, closed));
        let file = File::from(opened?);
        let filled = fill(file, bytes, attributes);
        if filled.is_err() {
            let _ = self.remove(name);
        }
        filled
    }

    /// Replaces a file in one step, or creates it: a reader sees the old file or the new one, each whole. The change is on
    /// disk when this returns. A link of that name is replaced, not followed.
    pub fn replace(
        &self,
        name: &OsStr,
        bytes: &[u8],
        attributes: Option<&Attributes>,
    ) -> io::Result<()> {
        let temporary = temporary(plain(name)?);
        self.create(&temporary, bytes, attributes)?;
        if let Err(error) = rustix::fs::renameat(&self.fd, &temporary, &self.fd, name) {
            let _ = self.remove(&temporary);
            return Err(error.into());
        }
        Ok(retry_on_intr(|| rustix::fs::fsync(&self.fd))?)
    }

    /// Whether a file could be replaced: does all but the last step, and undoes it.
    pub fn rehearse_replace(
        &self,
        name: &OsStr,
        attributes: Option<&Attributes>,
    ) -> io::Result<()> {
        let name = plain(name)?;
        // These make only the last step, the rename, fail: flags of `chattr(1)`, and a file that is a mount of its own.
        self.check_flags("", "its directory", AtFlags::EMPTY_PATH)?;
        self.check_flags(name, "it", AtFlags::SYMLINK_NOFOLLOW)?;
        let temporary = temporary(name);
        self.create(&temporary, &[], attributes)?;
        self.remove(&temporary)
    }

    fn check_flags(&self, name: impl Arg, what: &str, flags: AtFlags) -> io::Result<()> {
        let found = match rustix::fs::statx(&self.fd, name, flags, StatxFlags::empty()) {
            Ok(found) => found.stx_attributes,
            // Linux before 4.11, and filters that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let why = if found.contains(StatxAttributes::IMMUTABLE) {
            "is immutable: chattr -i"
        } else if found.contains(StatxAttributes::APPEND) {
            "may only be appended to: chattr -a"
        } else if what == "it" && found.contains(StatxAttributes::MOUNT_ROOT) {
            "is a mount of its own"
        } else {
            return Ok(());
        };
        Err(io::Error::other(format!("{what} {why}")))
    }

    /// Removes a file. A missing file is no error.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, plain(name)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The name, if it is a plain name of an entry in this directory.
fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(io::Error::other("it is not a plain file name")),
    }
}

fn temporary(name: &OsStr) -> OsString {
    let mut temporary = name.to_owned();
    temporary.push(format!(".new-{:08x}", fastrand::u32(..)));
    temporary
}

fn fill(mut file: File, bytes: &[u8], attributes: Option<&Attributes>) -> io::Result<()> {
    match attributes {
        Some(attributes) => attributes.give_to(&file)?,
        // Independent of the umask.
        None => rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?,
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens an absolute path without links, component by component, as `openat2` does in one call.
fn walk(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let passing = DIRECTORY | OFlags::PATH;
    let mut components = path.components().peekable();
    if components.next() != Some(Component::RootDir) {
        return Err(io::Error::other("its path is not absolute"));
    }
    let first = if components.peek().is_none() { flags } else { passing };
    let mut directory = rustix::fs::open("/", first, Mode::empty())?;
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else {
            return Err(io::Error::other("its path is not resolved"));
        };
        let flags = if components.peek().is_none() { flags } else { passing };
        directory = retry_on_intr(|| rustix::fs::openat(&directory, name, flags, Mode::empty()))?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    /// A directory's path without links, `real` in it and `link` to that.
    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(place.path()).unwrap();
        let (real, link) = (path.join("real"), path.join("link"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        (place, real, link)
    }

    #[test]
    fn links_are_resolved_before_and_never_followed_afterwards() {
        let (_place, real, link) = place();
        assert_eq!(Directory::open(&link).unwrap().path(), real);
        drop(File::create(real.join("file")).unwrap());
        let (directory, name) = Directory::of_file(&link.join("file")).unwrap();
        assert_eq!((directory.path(), name.to_str()), (real.as_path(), Some("file")));
        // As if the link had come after the path was resolved.
        for path in [link.clone(), link.join("x")] {
            std::fs::create_dir_all(real.join("x")).unwrap();
            assert!(Directory::open_resolved(path.clone()).is_err(), "{path:?}");
            assert!(walk(&path, DIRECTORY | OFlags::RDONLY).is_err(), "{path:?}");
        }
    }

    #[test]
    fn the_walk_ends_where_the_call_does() {
        let (_place, real, _link) = place();
        for path in [real.as_path(), Path::new("/")] {
            let walked = File::from(walk(path, DIRECTORY | OFlags::RDONLY).unwrap());
            let there = std::fs::metadata(path).unwrap();
            assert_eq!(walked.metadata().unwrap().ino(), there.ino());
        }
        for path in ["relative", "/tmp/../etc"] {
            assert!(walk(Path::new(path), DIRECTORY | OFlags::RDONLY).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_done_is_done_in_the_directory_that_was_opened() {
        let (_place, real, link) = place();
        let directory = Directory::open(&real).unwrap();
        let aside = real.with_file_name("aside");
        std::fs::rename(&real, &aside).unwrap();
        std::fs::rename(&link, &real).unwrap();
        let name = OsStr::new("file");
        directory.replace(name, b"one", None).unwrap();
        let (_, attributes) = directory.read(name, 3).unwrap();
        let attributes = Attributes { mode: 0o640, ..attributes };
        directory.replace(name, b"two", Some(&attributes)).unwrap();
        let (contents, attributes) = directory.read(name, 3).unwrap();
        assert_eq!((contents.as_slice(), attributes.mode), (&b"two"[..], 0o640));
        assert_eq!(std::fs::read(aside.join("file")).unwrap(), b"two");
        assert!(directory.create(name, b"", None).is_err());
        directory.remove(name).unwrap();
        directory.remove(name).unwrap();
        assert_eq!(std::fs::read_dir(&aside).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_not_read_and_not_written_through() {
        let (_place, real, _link) = place();
        let (secret, name) = (real.with_file_name("secret"), OsStr::new("file"));
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&secret)
            .and_then(|mut file| file.write_all(b"secret"))
            .unwrap();
        symlink(&secret, real.join("file")).unwrap();
        let directory = Directory::open(&real).unwrap();
        assert_eq!(directory.read(name, 99).unwrap_err().to_string(), "it is a symbolic link");
        directory.replace(name, b"new", None).unwrap();
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
        for name in ["", ".", "..", "a/b", "a/", "/a"] {
            assert!(directory.read(OsStr::new(name), 1).is_err(), "{name}");
            assert!(directory.remove(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
