//! The server's files that setup touches, and no others: its data directory, `hba_file` and `ident_file`.
//!
//! Each directory is opened once, before anything is planned, and all work uses its descriptor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::files::{Attributes, Directory};
use crate::sql::Administration;

/// Largest file that is edited, in bytes.
pub(super) const LARGEST: u64 = 4 * 1024 * 1024;
/// Largest `postmaster.pid` that is read, in bytes: it has eight lines.
const LARGEST_PID: u64 = 8192;

/// Longest time between the two times that a server reports as its start, in seconds.
const LONGEST_START: u64 = 300;

/// Where a server's files are.
pub(super) struct ServerFiles {
    /// The data directory, which has the record.
    pub(super) data: Directory,
    /// `hba_file` and `ident_file`, each with the path that the server reports.
    files: [(PathBuf, io::Result<Editable>); 2],
}

/// A file that may get a block.
#[derive(Debug)]
pub(super) struct Editable {
    directory: Directory,
    name: OsString,
}

impl ServerFiles {
    /// Opens the directories of a server, if its data directory can be reached from here and belongs to this process's user.
    pub(super) fn open(server: &Administration) -> Result<Self, Error> {
        let path = &server.data_directory;
        let elsewhere = |why: String| Error::Elsewhere { path: path.clone(), why };
        let data = Directory::open(path).map_err(|error| elsewhere(error.to_string()))?;
        let ours = rustix::process::geteuid().as_raw();
        let owner = data.owner().map_err(|error| elsewhere(error.to_string()))?;
        if owner != ours {
            return Err(Error::NotTheOwners { path: path.clone(), owner, ours });
        }
        started(&data, server).map_err(elsewhere)?;
        let file = |path: &PathBuf| (path.clone(), Editable::open(path));
        Ok(Self { data, files: [file(&server.hba_file), file(&server.ident_file)] })
    }

    /// The file with this path; `None` if the server does not name it.
    pub(super) fn file(&self, path: &Path) -> Option<Result<&Editable, &io::Error>> {
        let (_, file) = self.files.iter().find(|(known, _)| known == path)?;
        Some(file.as_ref())
    }
}

/// Fails unless the data directory is the server's: start and port must match its lock file (PostgreSQL: `miscinit.c`,
/// `CreateLockFile`; the third and the fourth line).
fn started(data: &Directory, server: &Administration) -> Result<(), String> {
    let (text, _) = data
        .read(OsStr::new("postmaster.pid"), LARGEST_PID)
        .map_err(|error| format!("postmaster.pid: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let line = |number| text.lines().nth(number).and_then(|line| line.trim().parse::<u64>().ok());
    // The server reads the clock twice: in between it reads its settings and creates its shared memory.
    match (line(2), line(3)) {
        (Some(started), Some(port))
            if started.abs_diff(server.started) <= LONGEST_START
                && port == u64::from(server.tls.port) =>
        {
            Ok(())
        }
        _ => Err("its postmaster.pid belongs to another server".to_owned()),
    }
}

impl Editable {
    fn open(path: &Path) -> io::Result<Self> {
        if !path.is_absolute() {
            return Err(io::Error::other("its path is not absolute"));
        }
        let (directory, name) = Directory::of_file(path)?;
        Ok(Self { directory, name })
    }

    /// The path of another file in its directory, for people.
    pub(super) fn beside(&self, name: &OsStr) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its text.
    pub(super) fn read(&self) -> io::Result<String> {
        self.look().map(|(text, _)| text)
    }

    fn look(&self) -> io::Result<(String, Attributes)> {
        let (bytes, attributes) = self.directory.read(&self.name, LARGEST)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| io::Error::other("it is not written in UTF-8"))?;
        if let Some(line) = text.split('\n').position(|line| line.contains('\0')) {
            return Err(io::Error::other(format!(
                "line {} has a NUL byte, so PostgreSQL reads it in another way than it looks",
                line + 1
            )));
        }
        Ok((text.to_owned(), attributes))
    }

    /// Why this process cannot replace the file, for people; `None` if it can. Tries all but the last step, and leaves
    /// nothing behind.
    pub(super) fn fixed(&self) -> Option<String> {
        let (_, attributes) = self.look().ok()?;
        if let Err(error) = ours(&attributes) {
            return Some(error.to_string());
        }
        if let Err(error) = self.directory.is_writable() {
            return Some(format!(
                "cannot create a file in {}: {error}",
                self.directory.path().display()
            ));
        }
        let error = self.directory.rehearse_replace(&self.name, Some(&attributes)).err()?;
        Some(format!("it cannot be replaced: {error}"))
    }

    /// Replaces the file by one with the same owner, group, mode and extended attributes, after copying it to `copy`, if
    /// given. Fails without any change, and without a copy, if it no longer contains `before`.
    pub(super) fn edit(&self, before: &str, after: &str, copy: Option<&OsStr>) -> io::Result<()> {
        let (now, attributes) = self.look()?;
        if now != before {
            return Err(io::Error::other(
                "somebody else has changed it in the meantime; try again",
            ));
        }
        ours(&attributes)?;
        if let Some(copy) = copy {
            self.directory.create(copy, before.as_bytes(), Some(&attributes))?;
        }
        let replaced = self.directory.replace(&self.name, after.as_bytes(), Some(&attributes));
        if let Some(copy) = copy
            && replaced.is_err()
            && self.look().is_ok_and(|(now, _)| now == before)
        {
            self.remove_copy(copy);
        }
        replaced
    }

    /// The name of a copy in the same directory, which no include line matches.
    pub(super) fn copy_name(&self, stamp: &str) -> OsString {
        let mut copy = self.name.clone();
        copy.push(format!(".pgsvid-{stamp}-{:04x}", fastrand::u16(..)));
        copy
    }

    /// Removes a copy.
    pub(super) fn remove_copy(&self, name: &OsStr) {
        let _ = self.directory.remove(name);
    }
}

/// Fails if the file belongs to another user: its replacement would belong to this process's user, so the owner would change.
fn ours(attributes: &Attributes) -> io::Result<()> {
    let ours = rustix::process::geteuid().as_raw();
    if attributes.owner == ours {
        return Ok(());
    }
    let owner = attributes.owner;
    Err(io::Error::other(format!("it belongs to uid {owner}, but this runs as uid {ours}")))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    const FILE: &str = "# comment\nlocal all all peer\n";

    #[test]
    fn a34_a_file_and_its_copy_keep_the_access_control_list() {
        const ACL: &str = "system.posix_acl_access";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg_hba.conf");
        File::create(&path).unwrap().write_all(FILE.as_bytes()).unwrap();
        // acl(5): user 4711 may read it, its group may not, and the mask is shown as the group's bits.
        let none = u32::MAX;
        let entries = [(1, 6, none), (2, 4, 4711), (4, 0, none), (0x10, 4, none), (0x20, 0, none)];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            list.extend(u16::to_le_bytes(tag));
            list.extend(u16::to_le_bytes(rights));
            list.extend(u32::to_le_bytes(id));
        }
        rustix::fs::setxattr(&path, ACL, &list, rustix::fs::XattrFlags::empty()).unwrap();
        let editable = Editable::open(&path).unwrap();
        assert_eq!(editable.fixed(), None);
        let copy = editable.copy_name("20261129");
        editable.edit(FILE, "new\n", Some(&copy)).unwrap();
        for path in [&path, &editable.beside(&copy)] {
            let mut found = [0; 256];
            let length = rustix::fs::getxattr(path, ACL, &mut found).unwrap();
            assert_eq!(found[..length], list, "{path:?}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_keeps_its_mode_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("pg_hba.conf"), directory.path().join("link"));
        let mut made = File::create(&file).unwrap();
        made.write_all(FILE.as_bytes()).unwrap();
        made.set_permissions(Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        // The target of a link is edited, because PostgreSQL reads it; the link stays.
        let editable = Editable::open(&link).unwrap();
        let copy = editable.copy_name("20261128");
        editable.edit(FILE, "new\n", Some(&copy)).unwrap();
        let state = |path: &Path| {
            (
                std::fs::read_to_string(path).unwrap(),
                std::fs::metadata(path).unwrap().mode() & 0o777,
            )
        };
        assert_eq!(state(&file), ("new\n".to_owned(), 0o640));
        assert_eq!(state(&link), state(&file));
        assert_eq!(state(&editable.beside(&copy)), (FILE.to_owned(), 0o640));
        editable.edit("new\n", FILE, None).unwrap();
        assert_eq!(state(&file), (FILE.to_owned(), 0o640));
        let error = editable.edit("other", "new", None).unwrap_err();
        assert!(error.to_string().contains("somebody else"), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
        editable.remove_copy(&copy);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
