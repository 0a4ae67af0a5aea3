//! What is read back: the files of an earlier run, judged by the descriptors that they are read from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::directory::Directory;
use super::error::errno;
use super::ownership::{self, NotOurs, Owners};

/// Largest file that is read back, in bytes: as text, the 4 MiB that an agent's message may have are 5.7 MiB.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Why the files of an earlier run are not read.
pub(super) enum Unreadable {
    /// Others could have written them.
    NotOurs(NotOurs),
    /// What the kernel said.
    Failed(Errno),
}

impl From<Errno> for Unreadable {
    fn from(cause: Errno) -> Self {
        Self::Failed(cause)
    }
}

/// A generation that an earlier run wrote, with its contents.
pub(super) struct Kept {
    pub(super) contents: BTreeMap<String, (Zeroizing<Vec<u8>>, Stat)>,
}

impl Kept {
    pub(super) fn content(&self, name: &str) -> &[u8] {
        self.contents.get(name).map_or(&[], |(bytes, _)| bytes)
    }
}

/// Reads the files of an earlier run, if they and everything else in the generation belong to one of `owners`, and
/// nobody else could have written any of it. What is read has been judged by the same descriptor.
pub(super) fn load(
    directory: &Directory,
    generation: &str,
    names: &[String],
    owners: Owners,
) -> Result<Kept, Unreadable> {
    let within = directory.open_generation(generation)?;
    let at = |name: &str| {
        // The path gets into a command of the remedy. A name that is none of ours may be written for that, so the
        // generation stands for it.
        let is_known = names.iter().any(|known| known == name);
        let entry = if is_known { format!("{generation}/{name}") } else { generation.to_owned() };
        let path = directory.path_of(&entry);
        move |reason| Unreadable::NotOurs(ownership::at(path)(reason))
    };
    owners.judge_directory(&rustix::fs::fstat(&within)?).map_err(at(""))?;
    for entry in rustix::fs::Dir::read_from(&within)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if ![".", ".."].contains(&&*name) {
            let stat = rustix::fs::statat(&within, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            owners.judge_file(&stat).map_err(at(&name))?;
        }
    }
    let mut contents = BTreeMap::new();
    for name in names {
        let file = open_file(&within, name)?;
        owners.judge_file(&file.stat).map_err(at(name))?;
        contents.insert(name.clone(), (file.read(LARGEST)?, file.stat));
    }
    Ok(Kept { contents })
}

/// Whether there is more in a generation than these files.
pub(super) fn has_more(directory: &Directory, generation: &str, names: &[String]) -> bool {
    let Ok(within) = directory.open_generation(generation) else { return false };
    let Ok(mut listing) = rustix::fs::Dir::read_from(&within) else { return false };
    listing.any(|entry| {
        let Ok(entry) = entry else { return false };
        let name = entry.file_name().to_string_lossy();
        ![".", ".."].contains(&&*name) && !names.iter().any(|known| *known == name)
    })
}

/// Reads one file of a generation.
pub(super) fn read_one(
    directory: &Directory,
    generation: &str,
    name: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    let names = [name.to_owned()];
    let mut kept = load(directory, generation, &names, directory.owners()).ok()?;
    Some(kept.contents.remove(name)?.0)
}

/// The same without judging who has written it: enough to see how long a generation is of use.
pub(super) fn glance(
    directory: &Directory,
    generation: &str,
    name: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    let within = directory.open_generation(generation).ok()?;
    Some(read(&within, name).ok()?.0)
}

/// An open file, and what it was when it was opened.
pub(super) struct Opened {
    file: File,
    pub(super) stat: Stat,
}

/// Opens a file to be judged and read, following no link.
pub(super) fn open_file(within: impl AsFd, name: &str) -> Result<Opened, Errno> {
    // O_NONBLOCK: a planted FIFO must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = retry_on_intr(|| rustix::fs::openat(&within, name, flags, Mode::empty()))?;
    let stat = rustix::fs::fstat(&file)?;
    Ok(Opened { file: File::from(file), stat })
}

impl Opened {
    /// Reads as much as it had when it was opened, and `largest` bytes at most.
    pub(super) fn read(&self, largest: u64) -> Result<Zeroizing<Vec<u8>>, Errno> {
        let size = u64::try_from(self.stat.st_size).unwrap_or(u64::MAX);
        if size > largest {
            return Err(Errno::FBIG);
        }
        // One allocation of the exact size: a buffer that grows leaves copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
        (&self.file).take(size).read_to_end(&mut bytes).map_err(|error| errno(&error))?;
        Ok(bytes)
    }
}

/// Reads a file that was just written, or that looks touched.
pub(super) fn read(within: impl AsFd, name: &str) -> Result<(Zeroizing<Vec<u8>>, Stat), Errno> {
    let file = open_file(within, name)?;
    Ok((file.read(LARGEST)?, file.stat))
}
