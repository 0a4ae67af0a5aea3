//! What can go wrong, with the remedy where there is one.

use std::io;
use std::path::PathBuf;

/// Why the agent could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory for the socket is missing.
    #[error(
        "cannot make the socket {path}: its directory does not exist; run mkdir -p {directory}",
        path = path.display(),
        directory = directory.display()
    )]
    NoDirectory {
        /// The socket.
        path: PathBuf,
        /// What has to be created.
        directory: PathBuf,
    },

    /// Somebody answers on the socket.
    #[error(
        "cannot make the socket {path}: an agent answers there already; stop it or choose another path",
        path = path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },

    /// A file or directory is in the way, and it is not ours to delete.
    #[error(
        "cannot make the socket {path}: it exists and is not a socket; remove it or choose another path",
        path = path.display()
    )]
    NotASocket {
        /// The path of the would-be socket.
        path: PathBuf,
    },

    /// The path does not fit into a socket address (108 bytes, see unix(7)).
    #[error(
        "cannot make the socket {path}: the path has {length} bytes, at most 107 are possible; choose a shorter one",
        path = path.display()
    )]
    PathTooLong {
        /// The socket.
        path: PathBuf,
        /// The path's length in bytes.
        length: usize,
    },

    /// The socket could not be made for another reason.
    #[error("cannot make the socket {path}", path = path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The thread or its runtime could not be started.
    #[error("cannot start the agent's thread")]
    Thread(#[source] io::Error),

    /// A certificate could not be made, for instance because a name is not ASCII.
    #[error("cannot issue a certificate for {subject}")]
    Issue {
        /// The SPIFFE ID.
        subject: String,
        /// What the certificate library said.
        source: rcgen::Error,
    },

    /// A key could not be generated.
    #[error("cannot generate a key of type {kind}: {cause}")]
    Key {
        /// The type.
        kind: crate::KeyType,
        /// What the library said; each has an error type of its own.
        cause: String,
    },

    /// The agent was started a second time.
    #[error("the agent runs already")]
    Running,

    /// There is no coming authority.
    #[error("no authority was prepared; call prepare_authority first")]
    NothingPrepared,

    /// What was waited for did not happen in time.
    #[error("waited for {waited:?} in vain; last seen: {last:?}")]
    TimedOut {
        /// How long.
        waited: std::time::Duration,
        /// What had happened up to then.
        last: crate::Activity,
    },
}
