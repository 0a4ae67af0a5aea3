//! Where file systems are mounted, as this process sees it (`proc_pid_mountinfo(5)`).

use std::io;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount point.
    pub point: PathBuf,
    /// The kind of file system: `ext4`, `tmpfs`, `nfs4` …
    pub kind: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

impl Mount {
    /// Whether the file system is on another machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        let kind = self.kind.as_str();
        kind.starts_with("nfs")
            || kind.starts_with("fuse.")
            || ["cifs", "smb3", "ceph", "9p", "afs", "glusterfs", "lustre"].contains(&kind)
    }
}

/// All mounts, in the order in which they were made: of two at one point the later one is visible.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

/// The mount that contains `path`. Links are not followed.
#[must_use]
pub fn mount_of<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw`
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let (point, options) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, super_options) = (right.next()?, right.nth(1).unwrap_or_default());
    let read_only = [options, super_options]
        .iter()
        .any(|options| options.split(',').any(|option| option == "ro"));
    Some(Mount { point: PathBuf::from(unescaped(point)), kind: kind.to_owned(), read_only })
}

/// Blanks and backslashes are written in octal: `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read() {
        let mounts = parse(
            "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
             40 21 0:30 / /svids rw - tmpfs tmpfs rw,size=64k\n\
             41 40 8:1 /pods/1/svid.pem /svids/svid.pem ro,relatime - ext4 /dev/sda1 rw\n\
             42 21 0:50 / /a\\040b rw - nfs4 server:/x ro,vers=4.2\n\
             nonsense\n",
        );
        assert_eq!(mounts.len(), 4);
        let of = |path: &str| mount_of(Path::new(path), &mounts).unwrap();
        assert_eq!(of("/svids/svid_key.pem").kind, "tmpfs");
        assert!(of("/svids/svid.pem").read_only);
        assert_eq!(of("/svids2").point, Path::new("/"));
        assert!(of("/a b/c").is_remote() && of("/a b/c").read_only);
    }
}
