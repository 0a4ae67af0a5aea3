//! Facts about the files that a PostgreSQL reads.

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

/// The files that PostgreSQL's settings name, as they are now.
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
    /// The user ID that PostgreSQL runs as, if its socket is visible and may be PostgreSQL's.
    pub server_uid: Option<u32>,
}

/// Facts about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The setting's value.
    pub named: String,
    /// The path on this side, if known.
    pub path: Option<PathBuf>,
    /// Whether the path leads to the published file, and will lead to the new one after the next publication.
    pub published: bool,
    /// What is at the path.
    pub state: State,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The setting is empty.
    NotSet,
    /// The path on this side is unknown.
    OutOfSight,
    /// This process may not enter a directory above it.
    Closed,
    /// Nothing is there, or a link whose target does not exist.
    Missing,
    /// A directory, FIFO or similar.
    NotRegular,
    /// A file.
    Present(Present),
}

/// A file's owner, mode and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// User ID of its owner.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Its mode with setuid, setgid and sticky, without the file type.
    pub mode: u32,
    /// When the content was last written, which may be the only sign of a change.
    pub modified: SystemTime,
    /// What it holds.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// This process may not read it.
    Unreadable,
    /// Owner and mode allow reading, but the kernel refuses: it is outside of the sandbox.
    OutsideSandbox,
    /// No bytes.
    Empty,
    /// No PEM block begins in it.
    NoPem,
    /// A PEM block begins, but does not end correctly, or holds nothing usable.
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
        /// Whether all certificates have OpenSSL's trust settings appended. PostgreSQL accepts such a certificate as a leaf, but
        /// loads no authorities from a file that holds no others: the function that reads the authorities' names for clients skips
        /// such blocks (OpenSSL: `SSL_load_client_CA_file`).
        trusted_alone: bool,
    },
}
