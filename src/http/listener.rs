//! The address to listen on, and the bound socket.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{geteuid, umask};

/// Longest path of a Unix socket in bytes (`sun_path` of `unix(7)`, without the byte that ends it).
const LONGEST: usize = 107;

/// `127.0.0.1:9809` or `unix:/path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and port.
    Tcp(SocketAddr),
    /// An absolute path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse::<SocketAddr>().map_err(|_| {
                "write an address with a port, 127.0.0.1:9809, or a socket, unix:/run/pgsvid/status.sock"
                    .to_owned()
            })?;
            // ::ffff:127.0.0.1 is 127.0.0.1, also where the kernel lists who listens.
            let ip = address.ip().to_canonical();
            return Ok(Self::Tcp(if ip == address.ip() {
                address
            } else {
                (ip, address.port()).into()
            }));
        };
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        if !path.is_absolute() {
            return Err("write an absolute path after unix:".to_owned());
        }
        let length = path.as_os_str().len();
        if length > LONGEST {
            return Err(format!(
                "the socket's path has {length} bytes, more than the {LONGEST} that the kernel allows; use a shorter one"
            ));
        }
        Ok(Self::Unix(path.to_owned()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why listening failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process listens there, or did until now.
    #[error(
        "cannot listen on {0}: another process already does; stop it, or give health.listen another address"
    )]
    Taken(Listen),
    /// Another kind of file is at the path.
    #[error("cannot listen on unix:{}: a file there is not a socket; move it away, or give health.listen another path", .0.display())]
    NoSocket(PathBuf),
    /// Another user's socket, in use or not.
    #[error("cannot listen on unix:{}: a socket there belongs to uid {}, not to pgsvid's user; remove it, or give health.listen another path", .0.display(), .1)]
    Foreign(PathBuf, u32),
    /// The kernel refused.
    #[error(
        "cannot listen on {0}: {1}; check that health.listen names an address of this machine, or a directory that pgsvid may write to"
    )]
    Refused(Listen, io::Error),
}

/// A bound socket on which no connection is answered yet.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over a Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds. Call it before threads start, and before a sandbox forbids it.
    pub fn bind(listen: &Listen) -> Result<Self, Error> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => Error::Taken(listen.clone()),
            _ => Error::Refused(listen.clone(), error),
        };
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => {
                remove_leftover(path)?;
                // For pgsvid's user and group: the status is no secret, but nobody else needs it. The kernel creates the
                // socket with this mode. A later change of mode could hit a file that somebody has put there in the meantime.
                let former = umask(Mode::from_raw_mode(0o117));
                let bound = UnixListener::bind(path);
                umask(former);
                let listener = bound.map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Unix(listener))
            }
        }
    }
}

/// Removes the socket of a process that was killed: nobody listens on it, but nobody else can bind the path. Follows no link,
/// and removes only in the directory that was examined.
fn remove_leftover(path: &Path) -> Result<(), Error> {
    let refused = |error: Errno| Error::Refused(Listen::Unix(path.to_owned()), error.into());
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::NoSocket(path.to_owned()));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty()).map_err(refused)?;
    let found = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(Error::NoSocket(path.to_owned()));
    }
    if found.st_uid != geteuid().as_raw() {
        return Err(Error::Foreign(path.to_owned(), found.st_uid));
    }
    if is_listened_on(path).map_err(refused)? {
        return Err(Error::Taken(Listen::Unix(path.to_owned())));
    }
    unlinkat(&directory, name, AtFlags::empty()).map_err(refused)
}

/// Never waits: a process that listens but does not accept has a queue, which may be full.
fn is_listened_on(path: &Path) -> Result<bool, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // A socket of another type counts too, as long as a process has it open.
    Ok(matches!(connect(&socket, &address), Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn addresses_and_paths_are_distinguished() {
        for text in ["127.0.0.1:9809", "[::1]:9809", "unix:/run/pgsvid/status.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        let uri = "unix:///run/a".parse::<Listen>().unwrap();
        assert_eq!(uri.to_string(), "unix:/run/a");
        for text in ["9809", "localhost:9809", "unix:status.sock", ":9809", "/run/a"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn b125_an_address_of_ipv4_is_recognised_in_every_notation() {
        let mapped: Listen = "[::ffff:127.0.0.1]:9809".parse().unwrap();
        assert_eq!(mapped, "127.0.0.1:9809".parse().unwrap());
    }

    #[test]
    fn x07_what_is_taken_is_named_and_what_was_left_is_taken_over() {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let Listener::Tcp(bound) = &listener else { panic!("{listener:?}") };
        let address = Listen::Tcp(bound.local_addr().unwrap());
        let error = Listener::bind(&address).unwrap_err().to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("another process"),
            "{error}"
        );

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.sock");
        let listen = Listen::Unix(path.clone());
        let listener = Listener::bind(&listen).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        assert!(matches!(Listener::bind(&listen), Err(Error::Taken(_))));
        drop(listener);
        Listener::bind(&listen).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::File::create(&path).unwrap();
        assert!(matches!(Listener::bind(&listen), Err(Error::NoSocket(_))));
        assert!(path.exists(), "what is not ours stays");
    }

    #[test]
    fn a33_a_socket_whose_process_accepts_nobody_or_takes_datagrams_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.sock");
        let listen = Listen::Unix(path.clone());
        let full = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(Listener::bind(&listen), Err(Error::Taken(_))));
        assert!(path.exists());

        std::fs::remove_file(&path).unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&listen), Err(Error::Taken(_))));
        drop(datagrams);
        Listener::bind(&listen).unwrap();
    }

    #[test]
    fn a18_nothing_but_a_socket_of_ours_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("status.sock"), directory.path().join("other"));
        let listen = Listen::Unix(path.clone());
        drop(UnixListener::bind(&other).unwrap());
        symlink(&other, &path).unwrap();
        assert!(matches!(Listener::bind(&listen), Err(Error::NoSocket(_))));
        assert!(other.exists() && path.is_symlink());

        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&other, &path).unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            assert!(matches!(Listener::bind(&listen), Err(Error::Foreign(_, 65_534))));
            assert!(path.exists());
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
        Listener::bind(&listen).unwrap();
    }
}
