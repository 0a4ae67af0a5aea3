//! The location of a file that another file names. PostgreSQL removes `..` from a path as text, from version 15 on in the
//! whole path (`path.c`, `canonicalize_path`); the kernel follows the link before it.

use std::io;
use std::path::{Component, Path, PathBuf};

/// The file that `outer` names by this path. Fails if versions of PostgreSQL disagree about it.
pub(super) fn named_in(outer: &Path, path: &str) -> io::Result<PathBuf> {
    let joined = outer.parent().unwrap_or(Path::new("/")).join(path);
    // An absolute path is used unchanged (`conffiles.c`, `AbsoluteConfigLocation`).
    if Path::new(path).is_absolute() { Ok(joined) } else { without_parents(&joined) }
}

/// The path without `..`, if that leads to the same file.
pub(super) fn without_parents(path: &Path) -> io::Result<PathBuf> {
    if !path.components().any(|part| part == Component::ParentDir) {
        return Ok(path.to_owned());
    }
    let mut shortened = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            shortened.pop();
        } else {
            shortened.push(part);
        }
    }
    let nowhere = |path: &Path| std::fs::symlink_metadata(path).is_err();
    if super::is_same(path, &shortened) || (nowhere(path) && nowhere(&shortened)) {
        return Ok(shortened);
    }
    Err(io::Error::other(format!(
        "{} contains .. after a link: PostgreSQL may read another file than the kernel finds there",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b34_two_dots_behind_a_link_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("else/deep")).unwrap();
        std::os::unix::fs::symlink("else/deep", at("sub")).unwrap();
        for name in ["else/users", "users"] {
            std::fs::File::create(at(name)).unwrap();
        }
        let named = |path: &str| named_in(&at("pg_hba.conf"), path).ok();
        assert_eq!(named("users"), Some(at("users")));
        assert_eq!(named("else/../users"), Some(at("users")));
        assert_eq!(named("else/deep/../nowhere"), Some(at("else/nowhere")));
        assert_eq!(named("sub/../users"), None);
        let absolute = at("sub/../users");
        assert_eq!(named(absolute.to_str().unwrap()), Some(absolute));
        std::fs::remove_file(at("users")).unwrap();
        assert_eq!(named("sub/../users"), None, "one of the two is there");
    }
}
