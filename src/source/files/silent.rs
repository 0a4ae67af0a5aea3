//! File systems that do not report changes which are made elsewhere (`inotify(7)` reports no events on network file systems).

use rustix::fs::statfs;

use super::Paths;
use crate::watching;

/// Their numbers in `statfs(2)`: NFS, SMB, CIFS, SMB2, FUSE, 9P, AFS, Ceph, GFS2, OCFS2, Coda; and overlay, whose lower layer
/// may be changed directly.
const SILENT: [u32; 12] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x5346_414f,
    0x00c3_6400,
    0x0116_1970,
    0x7461_636f,
    0x7375_7245,
    0x794c_7630,
];

/// Whether one of the files lies on such a file system. Call it before the sandbox is entered, which forbids `statfs`.
#[must_use]
pub fn are_silent(paths: &Paths) -> bool {
    let directories = paths.all().map(|path| watching::resolve_path(path).end);
    directories.iter().any(|directory| {
        // A missing directory will be created on the file system of its nearest existing ancestor.
        let found = directory.ancestors().find_map(|path| statfs(path).ok());
        // Where the field is signed, some of the numbers are negative, so only the lower 32 bits are compared.
        found.is_some_and(|found| {
            let bytes = found.f_type.to_le_bytes();
            let low = bytes.first_chunk::<4>().map_or(0, |low| u32::from_le_bytes(*low));
            SILENT.contains(&low)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z12_tmpfs_reports_changes_and_a_missing_path_counts_as_on_its_parents_file_system() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join("none").join(name);
        let paths =
            Paths { certificate: at("c"), private_key: at("k"), bundle: "/dev/shm/none/b".into() };
        let alone = |path: &str| {
            let path = std::path::PathBuf::from(path);
            Paths { certificate: path.clone(), private_key: path.clone(), bundle: path }
        };
        assert!(!are_silent(&alone("/dev/shm/none/b")));
        assert_eq!(are_silent(&paths), are_silent(&Paths { bundle: at("b"), ..paths.clone() }));
    }
}
