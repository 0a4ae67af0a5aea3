//! Whether a PostgreSQL's configuration files are what it has in force: it reads them at a reload, some settings at its start alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::configuration::{configured, files, is_fixed};
use super::{Access, data_directory};
use crate::sql::{self, Standing};
use pgsvid_base::timing;

/// The files that decide whom a server lets in, and what they are called where no setting says it.
const NAMED: [(&str, &str); 2] = [("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")];

/// How much later than here it may be where the server runs.
const SKEW: Duration = Duration::from_secs(2);

/// What in files is not in force, or may not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loading {
    /// `pg_hba.conf`, `pg_ident.conf` and what they name, as far as it was changed since it was loaded.
    pub access: Vec<PathBuf>,
    /// Whether nothing is known of the times of change of those files.
    pub unseen: bool,
    /// When the server says that it has loaded them, where that is yet to come: a clock was set back, and nothing can be compared.
    pub future: Option<SystemTime>,
    /// Configuration files that were changed since they were loaded.
    pub configuration: Vec<PathBuf>,
    /// All configuration files; `None` if they cannot be found and read.
    pub sources: Option<Vec<PathBuf>>,
    /// Settings that a restart changes.
    pub restart: Vec<Restart>,
    /// Settings that may name another file than the one in force: the role may not ask, and a restart has yet to come. Each with
    /// what was changed since the server has started, if that can be told.
    pub unknown: Vec<(&'static str, Option<PathBuf>)>,
}

/// A setting that a restart changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The setting.
    pub setting: &'static str,
    /// What is in force.
    pub now: String,
    /// What the configuration says, if that can be told.
    pub then: Option<PathBuf>,
}

/// Compares the files' times of change with the server's times of loading. `access` are the files as they were read.
#[must_use]
pub fn loading(socket: &sql::Settings, standing: &Standing, access: Option<&Access>) -> Loading {
    let data = data_directory(socket);
    let sources = data.as_deref().and_then(files);
    let changed = |files: &[PathBuf], since: Option<SystemTime>| -> Vec<PathBuf> {
        let is_newer = |path: &&PathBuf| match (changed(path), since) {
            (Some(changed), Some(since)) => changed > since,
            _ => false,
        };
        files.iter().filter(is_newer).cloned().collect()
    };
    let future = standing.loaded.filter(|loaded| *loaded > timing::now() + SKEW);
    let mut loading = Loading {
        future,
        access: match access {
            Some(access) => changed(&access.files, standing.loaded),
            None => standing
                .changed
                .iter()
                .filter_map(|name| standing.setting(name))
                .map(PathBuf::from)
                .collect(),
        },
        configuration: changed(sources.as_deref().unwrap_or_default(), standing.loaded),
        unseen: access.is_none() && (!standing.superuser || !standing.changed_perhaps.is_empty()),
        ..Loading::default()
    };
    for (setting, default) in NAMED {
        let then = data.as_deref().and_then(|data| configured(data, setting, default));
        if let Some(now) = standing.setting(setting) {
            let differs = match &then {
                Some(then) => !is_same(Path::new(now), then),
                None => standing.pending.iter().any(|pending| pending == setting),
            };
            if differs {
                loading.restart.push(Restart { setting, now: now.to_owned(), then });
            }
        } else if access.is_some() && !data.as_deref().is_some_and(|data| is_fixed(data, setting)) {
            let since_start = sources.as_deref().map(|sources| changed(sources, standing.started));
            match since_start.map(|changed| changed.into_iter().next()) {
                Some(None) => {}
                changed => loading.unknown.push((setting, changed.flatten())),
            }
        }
    }
    loading.sources = sources;
    loading
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || super::is_same(one, other)
}

/// When a file, or a link on the way to it, was last changed or exchanged, by the kernel's time of change, which nobody sets.
fn changed(path: &Path) -> Option<SystemTime> {
    let time = |found: &std::fs::Metadata| {
        let seconds = Duration::from_secs(found.ctime().try_into().ok()?);
        let part = Duration::from_nanos(found.ctime_nsec().try_into().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(seconds + part)
    };
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
