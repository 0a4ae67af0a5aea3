//! Reads the three files as one set, if possible.
//!
//! A volume of Kubernetes has a directory for each version, and a link `..data`, which the kubelet changes to the newest version
//! in one step. The link is followed once, and all three files are read below its target, so they are of one version. Other
//! programs replace or rewrite the files one after the other: for these it is only known whether a file has changed during the
//! read.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, readlinkat};
use zeroize::Zeroizing;

use super::state::Writer;
use super::{Paths, Trouble};
use crate::files;
use crate::material::pem::Part;
use crate::watching;

/// The link of Kubernetes' volumes.
const DATA: &str = "..data";
/// Largest certificate chain and bundle, and largest key, in bytes of PEM.
const LARGEST: u64 = 2 * 1024 * 1024;
const LARGEST_KEY: u64 = 64 * 1024;

/// How the files are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In a volume of Kubernetes: all of a directory at once.
    Volume,
    /// One after the other.
    Plain,
}

impl Kind {
    /// Whether what was read is of one version, even while another program writes.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self == Self::Volume
    }
}

/// The attributes that differ after a file was changed or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// The attributes of certificate, key and bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps([Stamp; 3]);

impl Stamps {
    fn of(found: &[Metadata; 3]) -> Self {
        Self([0, 1, 2].map(|at: usize| Stamp::of(&found[at])))
    }

    /// For how long none of them has changed at `now`, by the clock of the file system; `None` if that is ahead.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        let seconds = |stamp: &Stamp| stamp.changed.0.max(stamp.modified.0);
        let newest = u64::try_from(self.0.iter().map(seconds).max()?).ok()?;
        now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(newest)).ok()
    }

    #[cfg(test)]
    pub(super) fn sized(size: u64) -> Self {
        let stamp = Stamp { device: 0, inode: 0, size, modified: (0, 0), changed: (0, 0) };
        Self([stamp.clone(), stamp.clone(), stamp])
    }
}

/// The contents of certificate, key and bundle.
pub type Contents = [Zeroizing<Vec<u8>>; 3];

/// The files as they were read.
pub struct Taken {
    pub(super) stamps: Stamps,
    /// How the files are replaced.
    pub kind: Kind,
    /// Who writes the certificate.
    pub writer: Writer,
    /// The contents of the files; `None` if their attributes are the known ones.
    pub contents: Option<Contents>,
}

/// The targets of the three paths, with each link between the versions of a directory followed once.
struct Places {
    files: [PathBuf; 3],
    kind: Kind,
}

impl Places {
    fn of(paths: &Paths) -> Self {
        let mut followed = HashMap::new();
        let found = paths.all().map(|path| followed_once(path, &mut followed));
        let kind =
            if found.iter().all(|(_, is_data)| *is_data) { Kind::Volume } else { Kind::Plain };
        Self { files: found.map(|(file, _)| file), kind }
    }
}

/// Where a path leads, and whether that is in a volume of Kubernetes. A link between versions of a directory, such as
/// `..data`, is followed once and its target kept in `followed`, so that all three files come from one version.
fn followed_once(path: &Path, followed: &mut HashMap<PathBuf, Option<PathBuf>>) -> (PathBuf, bool) {
    let mut follow = |link: &Path| {
        let target = || {
            let target = readlink(link)?;
            // Another one of the same directory.
            let mut parts = target.components();
            let only = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            only.then(|| watching::parent(link).join(target))
        };
        followed.entry(link.to_owned()).or_insert_with(target).clone()
    };
    let directory = watching::parent(path);
    let is_data = |link: &Path| link.file_name().is_some_and(|name| name == DATA);
    // `tls.crt → ..data/tls.crt`, or a path through the link itself.
    if let Some(target) = readlink(path)
        && let [Component::Normal(link), Component::Normal(name)] =
            target.components().collect::<Vec<_>>()[..]
    {
        let link = directory.join(link);
        if let Some(version) = follow(&link) {
            return (version.join(name), is_data(&link));
        }
    }
    match (follow(&directory), path.file_name()) {
        (Some(version), Some(name)) => (version.join(name), is_data(&directory)),
        _ => (path.to_owned(), false),
    }
}

/// Reads a link with `readlinkat`, the only call that the sandbox allows for this.
fn readlink(path: &Path) -> Option<PathBuf> {
    let target = readlinkat(CWD, path, Vec::new()).ok()?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(target.to_bytes())))
}

/// Reads the files, unless their attributes equal `known`. May wait for a network file system.
///
/// In a volume ([`Kind::Volume`]) all three files are of one version. For plain files it is only known that none has changed
/// while they were read. Fails if a file is missing or cannot be read, or if one has changed during the read
/// ([`Trouble::Unsettled`]).
pub fn read(paths: &Paths, known: Option<&Stamps>) -> Result<Taken, Trouble> {
    // A volume may get its next version after the link was read and before the files are: then the old version is removed.
    let first = read_once(paths, known);
    match first {
        Err(Trouble::Missing { .. }) if Places::of(paths).kind.is_whole() => {
            read_once(paths, known)
        }
        first => first,
    }
}

fn read_once(paths: &Paths, known: Option<&Stamps>) -> Result<Taken, Trouble> {
    let places = Places::of(paths);
    let look = || -> Result<[Metadata; 3], Trouble> {
        let look = |at: usize| {
            std::fs::metadata(&places.files[at]).map_err(|cause| trouble(paths, at, &cause))
        };
        Ok([look(0)?, look(1)?, look(2)?])
    };
    let before = look()?;
    let stamps = Stamps::of(&before);
    let writer = writer(paths, places.kind, &before[0]);
    if known == Some(&stamps) {
        return Ok(Taken { stamps, kind: places.kind, writer, contents: None });
    }
    let read = |at: usize, most| {
        files::read(&places.files[at], most).map_err(|cause| trouble(paths, at, &cause))
    };
    let contents = [read(0, LARGEST)?, read(1, LARGEST_KEY)?, read(2, LARGEST)?];
    if Stamps::of(&look()?) != stamps {
        let path = paths.certificate.clone();
        return Err(Trouble::Unsettled { path });
    }
    Ok(Taken { stamps, kind: places.kind, writer, contents: Some(contents) })
}

fn writer(paths: &Paths, kind: Kind, found: &Metadata) -> Writer {
    Writer {
        path: paths.certificate.clone(),
        owner: found.uid(),
        written: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        is_volume: kind == Kind::Volume,
    }
}

fn trouble(paths: &Paths, at: usize, cause: &io::Error) -> Trouble {
    let (path, part) = (paths.all()[at].to_owned(), [Part::Chain, Part::Key, Part::Bundle][at]);
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Trouble::Missing { path, part },
        _ => Trouble::Unreadable { path, cause: cause.to_string(), uid: own_uid(cause) },
    }
}

/// The ID of this process's user, if the error is that this user may not read the file.
fn own_uid(cause: &io::Error) -> Option<u32> {
    (cause.kind() == io::ErrorKind::PermissionDenied).then(|| rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, rename};
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn texts(taken: &Taken) -> Vec<String> {
        let contents = taken.contents.as_ref().unwrap();
        contents.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    fn volume(place: &Path) -> Paths {
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(format!("..data/{name}"), place.join(name)).unwrap();
        }
        Paths {
            certificate: place.join("tls.crt"),
            private_key: place.join("tls.key"),
            bundle: place.join("ca.crt"),
        }
    }

    fn version(place: &Path, number: u32) {
        let directory = place.join(format!("..{number}"));
        create_dir(&directory).unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            write(&directory.join(name), &number.to_string());
        }
        symlink(format!("..{number}"), place.join("..data_tmp")).unwrap();
        rename(place.join("..data_tmp"), place.join("..data")).unwrap();
    }

    #[test]
    fn z11_a_volume_is_read_as_one_version_while_its_link_changes_again_and_again() {
        let place = tempfile::tempdir().unwrap();
        let paths = volume(place.path());
        version(place.path(), 0);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1.. {
                    version(place.path(), number);
                    if number > 1 {
                        std::fs::remove_dir_all(place.path().join(format!("..{}", number - 2)))
                            .unwrap();
                    }
                    if done.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            });
            let mut read_whole = 0;
            while read_whole < 500 {
                let Ok(taken) = read(&paths, None) else { continue };
                assert_eq!(taken.kind, Kind::Volume);
                let texts = texts(&taken);
                assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
                read_whole += 1;
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn z09_links_of_other_directories_and_to_versions_of_one_are_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        for directory in ["archive", "live", "v1"] {
            create_dir(at(directory)).unwrap();
        }
        for (name, file) in [("cert.pem", "1"), ("key.pem", "2"), ("ca.pem", "3")] {
            write(&at("archive").join(name), file);
            write(&at("v1").join(name), file);
            symlink(format!("../archive/{name}"), at("live").join(name)).unwrap();
        }
        symlink("v1", at("current")).unwrap();
        for directory in ["live", "current", "archive"] {
            let paths = Paths {
                certificate: at(directory).join("cert.pem"),
                private_key: at(directory).join("key.pem"),
                bundle: at(directory).join("ca.pem"),
            };
            let taken = read(&paths, None).unwrap();
            assert_eq!(texts(&taken), ["1", "2", "3"], "{directory}");
            assert_eq!(taken.kind, Kind::Plain, "{directory}");
            let again = read(&paths, Some(&taken.stamps)).unwrap();
            assert!(again.contents.is_none(), "{directory}");
        }
    }
}
