//! Whether a path leads to the new file after each publication. Other paths lead to the present file only: a link to a
//! generation's directory, a hard link, or a file that is mounted by itself.

use std::path::Path;

use pgsvid_base::files::{Link, way};

/// The link that every publication replaces.
const CURRENT: &str = "..data";

/// Whether the absolute path leads through the link in the published directory, as the kernel follows it.
pub(super) fn follows(path: &Path, directory: &Path) -> bool {
    let is_current =
        |link: &Link| link.name == CURRENT && super::is_same(&link.directory, directory);
    way(path).links.iter().any(is_current)
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
