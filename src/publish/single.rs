//! One file outside of the generations, such as a token: replaced in one step, and judged like the published directory.
//!
//! Each call follows the path again, so a directory that was replaced in the meantime is judged before anything is written to
//! it. A link in the place of the file is replaced, and never followed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::directory_path::{self, Trust};
use super::error::{Error, errno};
use super::generation::{create, read_back};
use super::kept::read;
use super::seam;

/// The prefix of a file that is not complete yet. A killed run may leave one behind; the next write removes it.
const UNFINISHED: &str = "..new-";
/// How often another process that writes the same file is waited for, and how long at a time: two seconds together.
const TRIES: u32 = 400;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A file, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleFile {
    /// Its path, absolute.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Its group; `None` leaves it to the directory.
    pub group: Option<u32>,
}

/// What is at the path.
#[derive(Debug)]
pub enum Present {
    /// Nothing.
    Nothing,
    /// A regular file of this process's user, with the configured mode.
    File(Zeroizing<Vec<u8>>),
    /// Something else; the text says how it differs, and follows the path.
    Other(String),
}

impl SingleFile {
    /// The directory that contains it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Judges the directory and the path to it: fails if somebody else could replace or read what is written there.
    pub fn judge(&self) -> Result<Trust, Error> {
        self.judge_for(rustix::process::geteuid().as_raw())
    }

    /// The same for a pgsvid that runs as the user `ours`.
    pub fn judge_for(&self, ours: u32) -> Result<Trust, Error> {
        self.open(ours).map(|(_, trust)| trust)
    }

    /// What is at the path now. Fails if the directory cannot be opened.
    pub fn read(&self) -> Result<Present, Error> {
        self.read_for(rustix::process::geteuid().as_raw())
    }

    /// The same for a pgsvid that runs as the user `ours`.
    pub fn read_for(&self, ours: u32) -> Result<Present, Error> {
        let followed = directory_path::follow(self.directory())?;
        let (bytes, stat) = match read(&followed.fd, &self.name()?) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Present::Nothing),
            Err(Errno::LOOP) => return Ok(Present::Other("is a symbolic link".to_owned())),
            Err(cause) => return Ok(Present::Other(format!("cannot be read: {cause}"))),
        };
        let mode = stat.st_mode & 0o7777;
        let differs = if stat.st_uid != ours {
            format!("belongs to uid {}, and pgsvid runs as uid {ours}", stat.st_uid)
        } else if mode != self.mode {
            format!("has mode {mode:04o}, and {:04o} is configured", self.mode)
        } else if self.group.is_some_and(|group| group != stat.st_gid) {
            format!("has the group {}, and another one is configured", stat.st_gid)
        } else {
            return Ok(Present::File(bytes));
        };
        Ok(Present::Other(differs))
    }

    /// The contents of a regular file at the path, whatever its owner and mode; `None` if there is none that can be read.
    #[must_use]
    pub fn existing(&self) -> Option<Zeroizing<Vec<u8>>> {
        let followed = directory_path::follow(self.directory()).ok()?;
        read(&followed.fd, &self.name().ok()?).ok().map(|(bytes, _)| bytes)
    }

    /// Replaces the file in one step: a reader finds the old one or the new one, each whole. It is on disk when this returns. After
    /// an error the old one is still there. Blocks.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let (within, _) = self.open(rustix::process::geteuid().as_raw())?;
        let name = self.name()?;
        let unfinished = format!("{UNFINISHED}{name}");
        let step = |action, entry: &str| {
            let path = self.directory().join(entry);
            move |cause| Error::Step { action, path, cause }
        };
        if let Ok(found) = rustix::fs::statat(&within, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(found.st_mode).is_dir()
        {
            let is = "is a directory".to_owned();
            return Err(Error::InTheWay { path: self.path.clone(), is });
        }
        let mut tries = 1..=TRIES;
        let held = loop {
            clear(&within, &unfinished, &mut tries).map_err(step("remove", &unfinished))?;
            match self.fill(&within, &unfinished, bytes) {
                Ok(Some(held)) => break held,
                Ok(None) if tries.next().is_some() => {}
                Ok(None) => return Err(step("lock", &unfinished)(Errno::AGAIN)),
                Err(error) => {
                    let _ = clear(&within, &unfinished, &mut (1..=1));
                    return Err(error);
                }
            }
        };
        seam::step();
        rustix::fs::renameat(&within, unfinished.as_str(), &within, name.as_str())
            .map_err(step("rename", &unfinished))
            .inspect_err(|_| {
                let _ = rustix::fs::unlinkat(&within, unfinished.as_str(), AtFlags::empty());
            })?;
        drop(held);
        seam::step();
        retry_on_intr(|| rustix::fs::fsync(&within)).map_err(step("sync", ""))
    }

    /// Creates the unfinished file, and returns it locked; `None` if another process was faster.
    fn fill(&self, within: &OwnedFd, name: &str, bytes: &[u8]) -> Result<Option<OwnedFd>, Error> {
        let path = self.directory().join(name);
        let failed = |(action, cause)| Error::Step { action, path: path.clone(), cause };
        let file = match create(within, name, bytes, self.mode, self.group) {
            Err((_, Errno::EXIST)) => return Ok(None),
            created => created.map_err(failed)?,
        };
        let held =
            OwnedFd::from(file.try_clone().map_err(|error| failed(("open", errno(&error))))?);
        if !lock(within, name, &held) {
            return Ok(None);
        }
        let (found, _) = read_back(within, name, file).map_err(failed)?;
        if *found == *bytes { Ok(Some(held)) } else { Err(Error::NotWritten { path }) }
    }

    fn open(&self, ours: u32) -> Result<(OwnedFd, Trust), Error> {
        let followed = directory_path::follow(self.directory())?;
        let trust = followed.judge(ours)?;
        // Another user's file of this name could be neither replaced nor removed, and readers would take it.
        if let Trust::Sticky { .. } = trust {
            return Err(Error::SharedDirectory { directory: self.directory().to_owned() });
        }
        if followed.gives_more_rights() {
            return Err(Error::DefaultAcl { directory: self.directory().to_owned() });
        }
        Ok((followed.fd, trust))
    }

    /// The configuration only lets plain names through.
    fn name(&self) -> Result<String, Error> {
        let name = self.path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let (path, is) = (self.path.clone(), "is not the path of a file".to_owned());
        name.ok_or(Error::InTheWay { path, is })
    }
}

/// Removes the unfinished file that a killed run has left. One that another process is writing has a lock; it is waited for.
fn clear(within: &OwnedFd, name: &str, tries: &mut impl Iterator<Item = u32>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        seam::step();
        let found = match rustix::fs::openat(within, name, flags, Mode::empty()) {
            Ok(found) => Some(found),
            // Another process may create it now.
            Err(Errno::NOENT) => return Ok(()),
            // What cannot be opened, such as a link, is no file of pgsvid's.
            Err(_) => None,
        };
        if found.as_ref().is_some_and(|found| !lock(within, name, found)) {
            tries.next().ok_or(Errno::AGAIN)?;
            std::thread::sleep(LOOK_AGAIN);
            continue;
        }
        return match rustix::fs::unlinkat(within, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(cause) => Err(cause),
        };
    }
}

/// Locks the file, and returns whether it is still the one with this name: only who has its lock may remove or rename it. A file
/// system without locks does not keep others out.
fn lock(within: &OwnedFd, name: &str, file: &OwnedFd) -> bool {
    if rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return false;
    }
    match (rustix::fs::statat(within, name, AtFlags::SYMLINK_NOFOLLOW), rustix::fs::fstat(file)) {
        (Ok(there), Ok(held)) => (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::seam::killed_after;
    use super::*;

    fn file(directory: &Path) -> SingleFile {
        SingleFile { path: directory.join("token"), mode: 0o640, group: None }
    }

    fn contents(file: &SingleFile) -> Option<Vec<u8>> {
        match file.read().unwrap() {
            Present::File(bytes) => Some(bytes.to_vec()),
            Present::Nothing => None,
            Present::Other(why) => panic!("{why}"),
        }
    }

    #[test]
    fn t10_a_file_killed_at_any_step_is_the_old_one_or_the_new_one() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        file.write(b"old").unwrap();
        let mut whole = 0;
        for steps in 0..20 {
            let killed = killed_after(steps, || file.write(b"new"));
            let found = contents(&file).unwrap();
            assert!(found == b"old" || found == b"new", "{steps}");
            whole += u32::from(killed.is_some());
            // The next write is whole, whatever was left behind.
            file.write(b"old").unwrap();
            assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "{steps}");
        }
        assert!((1..20).contains(&whole), "{whole}");
    }

    #[test]
    fn t19_two_processes_that_write_the_same_file_leave_a_whole_one() {
        let place = tempfile::tempdir().unwrap();
        let file = file(place.path());
        file.write(&[0; 10_000]).unwrap();
        std::thread::scope(|scope| {
            let writers = [1_u8, 2].map(|byte| {
                let file = &file;
                scope.spawn(move || (0..100).try_for_each(|_| file.write(&[byte; 10_000])))
            });
            while writers.iter().any(|writer| !writer.is_finished()) {
                let found = contents(&file).unwrap();
                assert!(found.len() == 10_000 && found.iter().all(|byte| *byte == found[0]));
            }
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn t11_a_link_is_replaced_and_what_is_in_the_way_is_named() {
        let place = tempfile::tempdir().unwrap();
        let (file, other) = (file(place.path()), place.path().join("other"));
        drop(File::create(&other).unwrap());
        symlink(&other, &file.path).unwrap();
        // A planted one at the name of the unfinished file is not followed, either.
        symlink(&other, place.path().join("..new-token")).unwrap();
        assert!(matches!(file.read().unwrap(), Present::Other(_)));
        file.write(b"token").unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"");
        assert_eq!(contents(&file).unwrap(), b"token");

        std::fs::remove_file(&file.path).unwrap();
        std::fs::create_dir(&file.path).unwrap();
        assert!(matches!(file.write(b"token"), Err(Error::InTheWay { .. })));
    }

    #[test]
    fn t11_a_directory_that_others_may_write_to_gets_no_token() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("open");
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
        let file = file(&directory);
        assert!(matches!(file.write(b"token"), Err(Error::WritableByOthers { .. })));
        assert!(matches!(file.judge(), Err(Error::WritableByOthers { .. })));
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o1777)).unwrap();
        assert!(matches!(file.write(b"token"), Err(Error::SharedDirectory { .. })));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }
}
