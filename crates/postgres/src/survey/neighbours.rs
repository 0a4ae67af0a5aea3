//! Sockets of other PostgreSQL servers on this machine: hints for the message that no server answers at the configured socket.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::sql;

/// The kernel's list of the Unix sockets in this network namespace.
const SOCKET_LIST: &str = "/proc/net/unix";
/// Largest list that is read, in bytes: a socket takes a hundred bytes.
const LARGEST: u64 = 4 << 20;
/// How a socket's name begins; its port follows (PostgreSQL: `pqcomm.h`).
const NAME: &str = ".s.PGSQL.";
/// Ports that are tried if a sandbox forbids listing the directory: those that people choose. It takes 3 ms.
const PORTS: std::ops::Range<u16> = 5000..7000;
/// The kernel's flag of a listening socket (`__SO_ACCEPTCON`).
const LISTENS: u32 = 0x1_0000;
/// How many sockets a message names at most.
const MOST: usize = 3;

/// A socket of another PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Its directory.
    pub host: PathBuf,
    /// The port in its name.
    pub port: u16,
}

/// Sockets with the requested port in other directories; if there are none, those in the requested directory; if there are none,
/// any. At most three.
/// Sockets of users that do not usually run PostgreSQL are skipped: any user can create a socket with such a name.
#[must_use]
pub fn neighbours(settings: &sql::Settings) -> Vec<Neighbour> {
    let (mut beside, mut elsewhere) = (listed(&settings.host), BTreeSet::new());
    for found in listening(&listening_sockets_text()) {
        if found.host == settings.host {
            beside.insert(found.port);
        } else {
            elsewhere.insert(found);
        }
    }
    let is_ours = |found: &Neighbour| {
        let path = found.host.join(format!("{NAME}{}", found.port));
        path != settings.socket() && has_lock_file(found) && is_of_a_server(&path)
    };
    let beside = beside.into_iter().map(|port| Neighbour { host: settings.host.clone(), port });
    let mut found: Vec<_> = beside.chain(elsewhere).filter(is_ours).collect();
    // Only the best matches are named: if there is a socket with the right port, one of another cluster does not help.
    let distance = |it: &Neighbour| match (it.port == settings.port, it.host == settings.host) {
        (true, _) => 0,
        (_, true) => 1,
        _ => 2,
    };
    let nearest = found.iter().map(distance).min();
    found.retain(|it| Some(distance(it)) == nearest);
    found.truncate(MOST);
    found
}

/// The kernel's list; empty if it cannot be read, as in a sandbox.
fn listening_sockets_text() -> String {
    let mut list = Vec::new();
    // A file in /proc has no length: the limit must apply while it is read.
    if let Ok(file) = fs::File::open(SOCKET_LIST) {
        let _ = file.take(LARGEST).read_to_end(&mut list);
    }
    String::from_utf8_lossy(&list).into_owned()
}

/// The ports of sockets in a directory.
fn listed(directory: &Path) -> BTreeSet<u16> {
    let Ok(entries) = fs::read_dir(directory) else {
        let exists = |port: &u16| directory.join(format!("{NAME}{port}")).exists();
        return PORTS.filter(exists).collect();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(NAME)?.parse().ok())
        .collect()
}

/// The listening sockets in the kernel's list: `Num RefCount Protocol Flags Type St Inode Path` (`proc(5)`).
fn listening(list: &str) -> impl Iterator<Item = Neighbour> {
    list.lines().filter_map(|line| {
        let mut fields = line.splitn(8, ' ').map(str::trim);
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        // The inode is padded with blanks, so the eighth field may begin too early: the path begins at the first slash.
        let path = line.get(line.find('/')?..)?;
        let (host, name) = path.rsplit_once('/')?;
        let port = name.strip_prefix(NAME)?.parse().ok()?;
        (flags & LISTENS != 0).then(|| Neighbour { host: PathBuf::from(host), port })
    })
}

/// Whether a lock file is beside the socket. PostgreSQL creates one for each of its sockets (`miscinit.c`); a pooler such as
/// PgBouncer, whose socket has the same kind of name, does not.
fn has_lock_file(found: &Neighbour) -> bool {
    found.host.join(format!("{NAME}{}.lock", found.port)).exists()
}

/// Whether the socket belongs to the user that usually runs PostgreSQL, or to this process's user.
fn is_of_a_server(path: &Path) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|socket| {
        let owner = socket.uid();
        socket.file_type().is_socket()
            && (owner == ours && ours != 0 || sql::runs_postgresql(owner))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_kernels_list_shows_who_listens() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 21341 /run/postgresql/.s.PGSQL.5499\n\
                    0000000000000000: 00000003 00000000 00000000 0001 03 21342 /run/postgresql/.s.PGSQL.5498\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 21343 /a b/.s.PGSQL.1\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 21344 /run/postgresql/.s.PGSQL.5499.lock\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 21345 @abstract/.s.PGSQL.5\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 21346\n";
        let found: Vec<_> = listening(list).map(|it| (it.host, it.port)).collect();
        assert_eq!(found[0], (PathBuf::from("/run/postgresql"), 5499));
        assert_eq!(found[1], (PathBuf::from("/a b"), 1));
    }

    #[test]
    fn a_poolers_socket_is_no_postgresql() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let _sockets =
            [".s.PGSQL.5433", ".s.PGSQL.6432"].map(|it| UnixListener::bind(path(it)).unwrap());
        fs::File::create(path(".s.PGSQL.5433.lock")).unwrap();
        let at = |port| Neighbour { host: directory.path().to_owned(), port };
        assert!(has_lock_file(&at(5433)) && !has_lock_file(&at(6432)));
    }
}
