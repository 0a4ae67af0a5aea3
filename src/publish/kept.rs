//! Reads back the files of an earlier run, and judges them by the same descriptors.

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

/// Largest file that is read back, in bytes: an agent's message of 4 MiB becomes 5.7 MiB as text.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Why the files of an earlier run are not used.
pub(super) enum Unreadable {
    /// Others could have written them.
    NotOurs(NotOurs),
    /// The error of the system call.
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

/// Reads the files of an earlier run, if everything in the generation belongs to one of `owners`, and nobody else could have
/// written any of it. Each file is judged and read by the same descriptor.
pub(super) fn load(
    directory: &Directory,
    generation: &str,
    names: &[String],
    owners: Owners,
) -> Result<Kept, Unreadable> {
    let within = directory.open_generation(generation)?;
    let at = |name: &str| {
        // The path becomes part of the remedy's command. Somebody may have created an unknown name for that purpose, so the
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

/// Whether a generation has other files than these.
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

/// Reads one file of a generation without judging who wrote it: that is enough to see how long the generation is useful.
pub(super) fn glance(
    directory: &Directory,
    generation: &str,
    name: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    let within = directory.open_generation(generation).ok()?;
    Some(read(&within, name).ok()?.0)
}

/// An open file, and its attributes when it was opened.
pub(super) struct Opened {
    file: File,
    pub(super) stat: Stat,
}

/// Opens a file to judge and read it, following no link.
pub(super) fn open_file(within: impl AsFd, name: &str) -> Result<Opened, Errno> {
    // O_NONBLOCK: a planted FIFO must not block pgsvid.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = retry_on_intr(|| rustix::fs::openat(&within, name, flags, Mode::empty()))?;
    let stat = rustix::fs::fstat(&file)?;
    Ok(Opened { file: File::from(file), stat })
}

impl Opened {
    /// Reads as many bytes as the file had when it was opened. Fails with `EFBIG` if that is more than `largest`.
    pub(super) fn read(&self, largest: u64) -> Result<Zeroizing<Vec<u8>>, Errno> {
        let size = u64::try_from(self.stat.st_size).unwrap_or(u64::MAX);
        if size > largest {
            return Err(Errno::FBIG);
        }
        // One allocation of the exact size: a growing buffer leaves copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
        (&self.file).take(size).read_to_end(&mut bytes).map_err(|error| errno(&error))?;
        Ok(bytes)
    }
}

/// Reads a file that was just written, or that looks changed.
pub(super) fn read(within: impl AsFd, name: &str) -> Result<(Zeroizing<Vec<u8>>, Stat), Errno> {
    let file = open_file(within, name)?;
    Ok((file.read(LARGEST)?, file.stat))
}
