//! Whether a path leads to the new file after each publication. Other paths lead to the present file only: a link to a
//! generation's directory, a hard link, or a file that is mounted by itself.

use std::path::Path;

use super::{Viewpoint, is_same};
use pgsvid_base::files::{Link, resolve_path};

/// The link that every publication replaces.
const CURRENT: &str = "..data";
/// How the names of the directories begin to which pgsvid lets it lead. Volumes of Kubernetes have names that begin with two
/// dots and the year.
const GENERATION: &[u8] = b"..v";

/// Whether the absolute path leads through the link in the published directory, as the kernel follows it.
pub(super) fn follows(path: &Path, directory: &Path) -> bool {
    let is_current = |link: &Link| link.name == CURRENT && is_same(&link.directory, directory);
    resolve_path(path).links.iter().any(is_current)
}

/// Whether the path leads to a file that a pgsvid publishes, so that pgsvid restores it when somebody else changes it.
#[must_use]
pub fn is_published(path: &Path) -> bool {
    let is_current = |link: &Link| {
        link.name == CURRENT
            && std::fs::read_link(link.directory.join(CURRENT))
                .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(GENERATION))
    };
    resolve_path(path).links.iter().any(is_current)
}

/// Where a path leads that a server's setting names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Nowhere: the setting is empty.
    Unset,
    /// To the published file, today and after each publication.
    Published,
    /// To the published file of today: the path names one generation.
    Generation,
    /// To another file.
    Elsewhere,
    /// To no file, or to one that cannot be seen from here.
    Missing,
}

/// Where the path `named` leads, compared with the `published` one; both are paths for the server. A relative path cannot be
/// followed: it counts as missing.
#[must_use]
pub fn lead(named: &str, published: &Path, viewpoint: &Viewpoint) -> Lead {
    if named.is_empty() {
        return Lead::Unset;
    }
    let (path, published) = (viewpoint.here(Path::new(named)), viewpoint.here(published));
    if !path.is_absolute() || std::fs::metadata(&path).is_err() {
        return Lead::Missing;
    }
    if !is_same(&path, &published) {
        return Lead::Elsewhere;
    }
    let follows =
        path == published || published.parent().is_some_and(|directory| follows(&path, directory));
    if follows { Lead::Published } else { Lead::Generation }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir, hard_link};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn f69_only_a_path_through_the_link_that_a_publication_replaces_follows_it() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for directory in ["pub", "pub/..v1", "data", "other"] {
            create_dir(at(directory)).unwrap();
        }
        drop(File::create(at("pub/..v1/a.pem")).unwrap());
        symlink("..v1", at("pub/..data")).unwrap();
        symlink("..data/a.pem", at("pub/a.pem")).unwrap();
        symlink(at("pub/a.pem"), at("data/followed.crt")).unwrap();
        symlink(at("pub/..v1/a.pem"), at("data/fixed.crt")).unwrap();
        symlink("../pub", at("data/way")).unwrap();
        hard_link(at("pub/..v1/a.pem"), at("data/hard.crt")).unwrap();
        symlink(at("pub/..v1"), at("other/..data")).unwrap();
        symlink("loop", at("data/loop")).unwrap();
        symlink("long/".repeat(800), at("data/long")).unwrap();
        for path in [
            "pub/a.pem",
            "pub/..data/a.pem",
            "data/followed.crt",
            "data/way/a.pem",
            "data/../pub/a.pem",
        ] {
            assert!(follows(&at(path), &at("pub")), "{path}");
            assert!(follows(&at(path), &at("data/way")), "{path}");
        }
        for path in [
            "pub/..v1/a.pem",
            "data/fixed.crt",
            "data/hard.crt",
            "other/..data/a.pem",
            "data/loop",
            "data/long",
            "data/none",
        ] {
            assert!(!follows(&at(path), &at("pub")), "{path}");
        }
    }
}
