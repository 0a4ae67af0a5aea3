//! Pure: from facts about files, settings and handshakes to causes and remedies. One text for every command.

mod access;
mod files;
mod login;
mod settings;
mod superuser;
mod verdict;

pub use access::{AccessFacts, JudgedMapping, STRANGE_NAME, STRANGERS, access, compared};
pub use files::refused;
pub use login::{Login, refused_login};
pub use settings::{PublishedPaths, concerns};
pub use superuser::{SocketUser, superuser_logins};
pub use verdict::{explain, outlived};

use crate::material::Fingerprint;

/// One cause, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong: names the object.
    pub cause: String,
    /// The command, SQL or line that mends it.
    pub fix: String,
}

/// Something that lets in whom it should not, or keeps out whom it should let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// Whether it must be mended; else it is worth a thought.
    pub severe: bool,
    /// What it is.
    pub finding: Finding,
}

impl Concern {
    fn failure(cause: String, fix: String) -> Self {
        Self { severe: true, finding: Finding { cause, fix } }
    }

    fn warning(cause: String, fix: String) -> Self {
        Self { severe: false, finding: Finding { cause, fix } }
    }
}

/// The three files that PostgreSQL's settings name, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `ssl_cert_file`
    pub certificate: FileFacts,
    /// `ssl_key_file`
    pub private_key: FileFacts,
    /// `ssl_ca_file`
    pub authorities: FileFacts,
    /// The uid that PostgreSQL runs as, if its socket can be seen and may be PostgreSQL's.
    pub server_uid: Option<u32>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The setting's value.
    pub named: String,
    /// The path here, if it can be told.
    pub path: Option<std::path::PathBuf>,
    /// Whether it is the published file, by whatever path.
    pub published: bool,
    /// What is there.
    pub state: State,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The setting is empty.
    NotSet,
    /// The path cannot be told from here.
    OutOfSight,
    /// We may not enter a directory above it.
    Closed,
    /// Nothing there, or a dangling link.
    Missing,
    /// A directory, FIFO or the like.
    NotRegular,
    /// A file.
    Present(Present),
}

/// A file's owner, mode and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// When the content was last written; tells a change that nothing else shows.
    pub modified: std::time::SystemTime,
    /// Content.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// We may not read it.
    Unreadable,
    /// Owner and mode let us read it, and the kernel does not: it is outside of our sandbox.
    Withheld,
    /// No byte.
    Empty,
    /// No PEM block begins in it.
    NoPem,
    /// A PEM block begins, and does not end as it should or holds nothing of use.
    Broken,
    /// A key with a passphrase.
    Passphrase,
    /// Certificates, a key, or both.
    Pem {
        /// Fingerprint of the first certificate.
        leaf: Option<Fingerprint>,
        /// Its SubjectPublicKeyInfo.
        leaf_key: Option<Vec<u8>>,
        /// The SubjectPublicKeyInfo of the private key.
        private_key: Option<Vec<u8>>,
    },
}
