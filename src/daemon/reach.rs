//! The directories in which the sandbox lets this process read files. Its rules apply to directories as they were when it was
//! entered, and not to paths.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::warn;

use crate::source::files::Paths;
use crate::watching::{self, Watching};

/// How often the paths of the files are followed if the kernel reports no changes.
const LOOK: Duration = Duration::from_secs(20);

/// The directories that the sandbox must permit, so that a file can still be read after it was replaced by a rename: the
/// directory of its path, and that of its link's target. If a link has its target in its own directory, as Kubernetes's
/// `..data` has, that directory, too: the next target will be there.
pub(super) fn around(file: &Path) -> Vec<PathBuf> {
    let way = watching::resolve_path(file);
    let versions = way.links.into_iter().filter(|link| link.stays).map(|link| link.directory);
    let directories = [watching::parent(file), way.end].into_iter().chain(versions);
    // Not `/`: the sandbox would permit everything. It permits the file itself then, as it is now.
    let (roots, mut found): (Vec<_>, Vec<_>) =
        directories.partition(|directory| directory == Path::new("/"));
    if !roots.is_empty() {
        found.push(std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()));
    }
    found
}

/// This process ends as planned, so that the parent starts another one with another sandbox.
#[derive(Debug, thiserror::Error)]
#[error("it ends, so that another process can read the files of [certificates]")]
pub struct Replaced;

/// Device and inode, which distinguish a directory from a later one at the same path.
type Identity = (u64, u64);

/// The directories that the sandbox permits, for files that are read repeatedly.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    paths: Paths,
    open: Vec<Identity>,
    /// Whether the file system tells of no changes; then it may also not answer, and is only asked in a thread of its own.
    is_silent: bool,
}

impl Reach {
    /// The directories at the time when the sandbox is entered.
    pub(super) fn of(paths: &Paths, is_silent: bool) -> Self {
        let directories = paths.all().into_iter().flat_map(around);
        let open = directories.filter_map(|it| identity(&it)).collect();
        Self { paths: paths.clone(), open, is_silent }
    }

    /// The first existing directory that contains one of the files now, and that the sandbox does not permit.
    fn left(&self) -> Option<PathBuf> {
        let ends = self.paths.all().into_iter().map(|path| watching::resolve_path(path).end);
        let is_open = |directory: &Path| {
            directory.ancestors().filter_map(identity).any(|found| self.open.contains(&found))
        };
        ends.into_iter().find(|end| end.is_dir() && !is_open(end))
    }

    /// Waits until there is such a directory, and fails then: the daemon ends, because only the next one can read there.
    pub(super) async fn until_left(self, watching: Watching) -> anyhow::Result<()> {
        let directories = |paths: &Paths| -> Vec<PathBuf> {
            if self.is_silent {
                return Vec::new();
            }
            paths
                .all()
                .into_iter()
                .flat_map(|path| watching::resolve_path(path).directories())
                .collect()
        };
        let mut changes = watching.directories(directories(&self.paths));
        loop {
            let left = if self.is_silent {
                let asked = self.clone();
                spawn_blocking(move || asked.left()).await.ok().flatten()
            } else {
                self.left()
            };
            if let Some(directory) = left {
                warn!(
                    event = "certificates-moved",
                    directory = %directory.display(),
                    "the files of [certificates] are now in a directory that the sandbox of this process does not permit: another \
                     process replaces it, which can read them"
                );
                return Err(Replaced.into());
            }
            tokio::select! {
                () = changes.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            changes.follow(directories(&self.paths));
        }
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    std::fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, rename};
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(place: &Path) -> Paths {
        let at = |name: &str| place.join(name);
        Paths { certificate: at("tls.crt"), private_key: at("tls.key"), bundle: at("ca.crt") }
    }

    #[test]
    fn b123_a_file_directly_in_the_root_directory_does_not_open_all_of_it() {
        assert_eq!(around(Path::new("/none.pem")), [Path::new("/none.pem")]);
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        symlink("/none.pem", &link).unwrap();
        assert_eq!(around(&link), [place.path(), &link]);
    }

    #[tokio::test(start_paused = true)]
    async fn z09_a_directory_that_is_created_again_ends_the_process_and_a_new_version_of_a_volume_does_not()
     {
        let place = tempfile::tempdir().unwrap();
        let volume = place.path().join("volume");
        create_dir(&volume).unwrap();
        let version = |name: &str| {
            create_dir(volume.join(name)).unwrap();
            symlink(name, volume.join("..tmp")).unwrap();
            rename(volume.join("..tmp"), volume.join("..data")).unwrap();
        };
        version("..1");
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(format!("..data/{name}"), volume.join(name)).unwrap();
        }
        let waiting = Reach::of(&paths(&volume), false).until_left(Watching::blind());
        tokio::pin!(waiting);
        version("..2");
        assert!(tokio::time::timeout(2 * LOOK, &mut waiting).await.is_err());
        rename(&volume, place.path().join("former")).unwrap();
        assert!(tokio::time::timeout(2 * LOOK, &mut waiting).await.is_err());
        create_dir(&volume).unwrap();
        assert!(tokio::time::timeout(2 * LOOK, &mut waiting).await.unwrap().is_err());
    }
}
