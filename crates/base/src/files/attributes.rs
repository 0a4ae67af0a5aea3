//! The owner, group, mode and extended attributes of a file: read from one file and applied to another.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{Gid, Mode, XattrFlags};
use rustix::io::Errno;

/// Largest list of names, and largest value, of extended attributes (`xattr(7)`: `XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LARGEST: usize = 65_536;

/// The metadata of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// User ID of its owner.
    pub owner: u32,
    /// Group ID.
    pub group: u32,
    /// Its permission bits, without setuid, setgid and sticky.
    pub mode: u32,
    /// Name and value of each extended attribute; an access control list is one of them.
    pub extended: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    /// The attributes of an open file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o777,
            extended: extended(file)?,
        })
    }

    /// Applies all but the owner to a file of this process. Fails if one of them cannot be set.
    pub(super) fn give_to(&self, file: &File) -> io::Result<()> {
        if rustix::fs::fstat(file)?.st_gid != self.group {
            rustix::fs::fchown(file, None, Some(Gid::from_raw(self.group))).map_err(|error| {
                let text = format!("cannot set the group {} on a new file: {error}", self.group);
                io::Error::new(io::Error::from(error).kind(), text)
            })?;
        }
        // Attributes that the directory gives to each new file.
        let given = extended(file)?;
        for (name, _) in &given {
            if !self.extended.iter().any(|(wanted, _)| wanted == name) {
                rustix::fs::fremovexattr(file, name.as_os_str())
                    .map_err(|error| cannot("remove", "from", name, error))?;
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode & 0o777))?;
        for attribute in &self.extended {
            let (name, value) = attribute;
            if !given.contains(attribute) {
                rustix::fs::fsetxattr(file, name.as_os_str(), value, XattrFlags::empty())
                    .map_err(|error| cannot("set", "on", name, error))?;
            }
        }
        Ok(())
    }
}

fn cannot(verb: &str, on: &str, name: &OsStr, error: Errno) -> io::Error {
    let text = format!(
        "cannot {verb} the extended attribute {} {on} a new file: {error}",
        name.to_string_lossy()
    );
    io::Error::new(io::Error::from(error).kind(), text)
}

fn extended(file: &File) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut names = Vec::with_capacity(LARGEST);
    match rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut extended = Vec::new();
    for name in names.map(OsStr::from_bytes) {
        let mut value = Vec::with_capacity(LARGEST);
        match rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => extended.push((name.to_owned(), value)),
            // It was removed in the meantime.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(extended)
}
/// The attribute with the access control list of a file or directory.
pub const ACCESS_LIST: &str = "system.posix_acl_access";
/// The attribute with the access control list for new entries of a directory.
pub const DEFAULT_LIST: &str = "system.posix_acl_default";
/// The tags of a named user and a named group (`linux/posix_acl.h`).
const NAMED: [u16; 2] = [0x02, 0x08];

/// Whether an access control list of an open file grants rights to single users or groups (`acl(5)`), which no permission bits
/// show: with a list, the group's bits are the most that any of them has. `None` if that cannot be read.
pub fn lists_names(file: impl AsFd, list: &str) -> Option<bool> {
    let mut value = [0; 256];
    match rustix::fs::fgetxattr(file, list, &mut value) {
        // A version, then entries of a tag, rights, and an ID: `linux/posix_acl_xattr.h`.
        Ok(length) => {
            let entries = value.get(4..length).unwrap_or_default().chunks_exact(8);
            let mut tags = entries.map(|entry| u16::from_le_bytes([entry[0], entry[1]]));
            Some(tags.any(|tag| NAMED.contains(&tag)))
        }
        // More than the 31 entries that fit: only named users and groups can be so many.
        Err(Errno::RANGE) => Some(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Some(false),
        Err(_) => None,
    }
}
