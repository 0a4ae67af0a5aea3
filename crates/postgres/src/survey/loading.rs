//! Whether a PostgreSQL's configuration files are in force: it reads them at a reload, and some settings only at its start.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::configuration::{Named, Start};
use super::{Access, is_elsewhere};
use crate::sql::{self, RoleRights};
use pgsvid_base::timing;

/// The settings that name the files which decide who may log in, and the files' default names.
const NAMED: [(&str, &str); 2] = [("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")];

/// How far the server's clock may be ahead of this machine's.
const SKEW: Duration = Duration::from_secs(2);

/// What has changed since a server loaded its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The files that have changed.
    pub files: Vec<PathBuf>,
    /// Directories above the files whose owner, mode or place was changed. Perhaps the server could not read the files when
    /// it last loaded its configuration.
    pub directories: Vec<PathBuf>,
}

/// Compares the files' times of change with when the server has loaded them.
#[must_use]
pub fn changes(paths: &[PathBuf], loaded: Option<SystemTime>) -> Changes {
    let Some(loaded) = loaded else { return Changes::default() };
    let files = paths.iter().filter(|path| changed(path).is_some_and(|changed| changed > loaded));
    let directories: BTreeSet<PathBuf> =
        paths.iter().flat_map(|path| directories_on_the_path(path)).collect();
    let directories =
        directories.into_iter().filter(|directory| is_changed_itself(directory, loaded));
    Changes { files: files.cloned().collect(), directories: directories.collect() }
}

/// The files and settings that the server has certainly or perhaps not loaded as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loading {
    /// `pg_hba.conf`, `pg_ident.conf` and the files that they name, if they have changed since they were loaded.
    pub access: Vec<PathBuf>,
    /// Directories on the paths of these that were changed since.
    pub directories: Vec<PathBuf>,
    /// Whether the times of change of those files are unknown.
    pub unseen: bool,
    /// The time of loading, if the server reports one in the future: a clock was set back, and nothing can be compared.
    pub future: Option<SystemTime>,
    /// Files that are missing, and that the server may have loaded: their directory was changed since.
    pub gone: Vec<PathBuf>,
    /// Configuration files that have changed since they were loaded.
    pub configuration: Vec<PathBuf>,
    /// All configuration files; `None` if they cannot be found and read.
    pub sources: Option<Vec<PathBuf>>,
    /// Settings that change at the next restart.
    pub restart: Vec<Restart>,
    /// Settings that may name another file than the one that was read, and the reason.
    pub unknown: Vec<(&'static str, Unknown)>,
}

/// Why a file that was read may not be the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// This file has changed since the server started, and the server has not restarted yet.
    Changed(PathBuf),
    /// The configuration files cannot be read.
    Unread,
    /// It is unknown with which configuration files the server was started.
    Start,
    /// The data directory here is not the server's, which may have other files at the same paths.
    Elsewhere,
}

/// A setting that changes at the next restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The setting.
    pub setting: &'static str,
    /// The value in force.
    pub now: String,
    /// The value after the restart, if known.
    pub then: Option<PathBuf>,
}

/// Compares the files' times of change with the server's times of loading. `access` are the files as they were read.
#[must_use]
pub fn loading(socket: &sql::Settings, standing: &RoleRights, access: Option<&Access>) -> Loading {
    let start = Start::of(socket);
    let sources = start.as_ref().and_then(Start::files);
    let changed = |files: &[PathBuf], since: Option<SystemTime>| changes(files, since).files;
    let future = standing.loaded.filter(|loaded| *loaded > timing::now() + SKEW);
    let of_access = match access {
        Some(access) => changes(&access.files, standing.loaded),
        None => Changes {
            files: standing
                .changed
                .iter()
                .filter_map(|name| standing.setting(name))
                .map(PathBuf::from)
                .collect(),
            directories: standing.directories.iter().map(PathBuf::from).collect(),
        },
    };
    let mut loading = Loading {
        future,
        access: of_access.files,
        directories: of_access.directories,
        configuration: changed(sources.as_deref().unwrap_or_default(), standing.loaded),
        unseen: access.is_none() && (!standing.superuser || !standing.changed_perhaps.is_empty()),
        gone: access.map_or_else(Vec::new, |access| gone(&access.files, standing.loaded)),
        ..Loading::default()
    };
    for (setting, default) in NAMED {
        let named = start.as_ref().and_then(|start| start.configured(setting, default));
        let certain = named.as_ref().is_some_and(|named| named.certain);
        let then = named.filter(|named| named.certain).map(|Named { path, .. }| path);
        if let Some(now) = standing.setting(setting) {
            let differs = match &then {
                Some(then) => !is_same(Path::new(now), then),
                None => standing.pending.iter().any(|pending| pending == setting),
            };
            if differs {
                loading.restart.push(Restart { setting, now: now.to_owned(), then });
            }
            // A superuser can query what the server has read from its own files.
            if access.is_some() && !standing.superuser && is_elsewhere(socket) {
                loading.unknown.push((setting, Unknown::Elsewhere));
            }
        } else if access.is_some() && !start.as_ref().is_some_and(|start| start.is_fixed(setting)) {
            let since_start = sources.as_deref().map(|sources| changed(sources, standing.started));
            let why = match since_start.map(|changed| changed.into_iter().next()) {
                Some(None) => (!certain).then_some(Unknown::Start),
                Some(Some(changed)) => Some(Unknown::Changed(changed)),
                None => Some(Unknown::Unread),
            };
            loading.unknown.extend(why.map(|why| (setting, why)));
        }
    }
    loading.sources = sources;
    loading
}

/// The files that are missing, if the nearest directory that exists was changed since.
fn gone(files: &[PathBuf], since: Option<SystemTime>) -> Vec<PathBuf> {
    let is_gone = |path: &&PathBuf| {
        let is_missing = |path: &Path| {
            let found = std::fs::metadata(path);
            found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let nearest = path.ancestors().skip(1).find(|directory| !is_missing(directory));
        is_missing(path)
            && nearest.and_then(changed).zip(since).is_some_and(|(changed, since)| changed > since)
    };
    files.iter().filter(is_gone).cloned().collect()
}

/// Whether any of the files was changed since then, or cannot be examined.
#[must_use]
pub fn is_changed_since(paths: &[PathBuf], since: SystemTime) -> bool {
    paths.iter().any(|path| changed(path).is_none_or(|changed| changed > since))
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || super::is_same(one, other)
}

/// The kernel's time of change (ctime), which no user can set.
fn time(found: &std::fs::Metadata) -> Option<SystemTime> {
    let seconds = Duration::from_secs(found.ctime().try_into().ok()?);
    let part = Duration::from_nanos(found.ctime_nsec().try_into().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds + part)
}

/// All directories on the path to a file, those on the paths of links included.
fn directories_on_the_path(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut path = path.to_owned();
    // `path_resolution(7)`
    for _ in 0..40 {
        let Some(directory) = path.parent() else { break };
        for start in std::iter::once(directory.to_owned()).chain(std::fs::canonicalize(directory)) {
            found.extend(start.ancestors().map(Path::to_owned));
        }
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = directory.join(target);
    }
    found
}

/// Whether a directory itself was changed: its mode, owner, access control list or place. A new entry in it does not count: that
/// sets the time of change and the time of modification to the same value.
fn is_changed_itself(path: &Path, since: SystemTime) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return false };
    let changed = (found.ctime(), found.ctime_nsec());
    changed != (found.mtime(), found.mtime_nsec()) && time(&found).is_some_and(|time| time > since)
}

/// When a file, or a link on its path, was last changed or replaced.
fn changed(path: &Path) -> Option<SystemTime> {
    let mut newest = time(&std::fs::metadata(path).ok()?)?;
    let mut path = path.to_owned();
    // `path_resolution(7)`
    for _ in 0..40 {
        let links = path.ancestors().filter_map(|step| std::fs::symlink_metadata(step).ok());
        newest = links
            .filter(std::fs::Metadata::is_symlink)
            .filter_map(|link| time(&link))
            .fold(newest, Ord::max);
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn b73_a_missing_file_counts_as_gone_if_its_directory_was_changed_since() {
        let directory = tempfile::tempdir().unwrap();
        let (file, deep) =
            (directory.path().join("extra.conf"), directory.path().join("d/extra.conf"));
        std::fs::File::create(&file).unwrap();
        let loaded = changed(&file).unwrap();
        let gone = |path: &PathBuf, since| super::gone(std::slice::from_ref(path), Some(since));
        assert_eq!(gone(&file, loaded).len(), 0);
        // The kernel's clock has ticks of some milliseconds.
        std::thread::sleep(Duration::from_millis(50));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(gone(&file, loaded).len(), 1);
        assert_eq!(gone(&deep, loaded).len(), 1);
        let later = loaded + Duration::from_secs(3600);
        assert_eq!(gone(&file, later).len(), 0);
        assert!(
            is_changed_since(&[file], later)
                && !is_changed_since(&[directory.path().to_owned()], later)
        );
    }
}
