//! What can be seen of the files that a PostgreSQL reads.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::sql::{Psql, Setting};
use pgsvid_material::Fingerprint;

/// The published files' paths, as PostgreSQL sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPaths {
    /// For `ssl_cert_file`.
    pub certificate: PathBuf,
    /// For `ssl_key_file`.
    pub private_key: PathBuf,
    /// For `ssl_ca_file`.
    pub bundle: PathBuf,
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
    /// `ssl_crl_file`
    pub revocation_lists: FileFacts,
    /// `ssl_dh_params_file`
    pub parameters: FileFacts,
    /// The other settings of TLS that are not at their defaults, as far as they are known.
    pub others: Vec<(String, Setting)>,
    /// The server's version: 150018 is 15.18.
    pub version: u32,
    /// How a superuser reaches the server.
    pub psql: Psql,
    /// The uid that PostgreSQL runs as, if its socket can be seen and may be PostgreSQL's.
    pub server_uid: Option<u32>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The setting's value.
    pub named: String,
    /// The path here, if it can be told.
    pub path: Option<PathBuf>,
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
    pub modified: SystemTime,
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
    /// Revocation lists, and no certificate.
    RevocationLists,
    /// Parameters for Diffie-Hellman.
    Parameters,
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
