//! Examines what a PostgreSQL opens: owner, mode, kind and content of its files, and the server's user ID.
//!
//! This room gathers facts, and judges nothing.

mod access;
mod configuration;
mod configuration_error;
mod facts;
mod following;
mod listeners;
mod loading;
mod log_prefix;
mod mounts;
mod naming;
mod neighbours;
mod refusals;
mod revocation;
mod server_log;
mod server_process;
mod server_unreadable;
mod without_tls;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

pub use access::{Access, Unclear, access, too_much};
pub use configuration::{is_set, other_settings, set_in, tls_settings_in_files};
pub use configuration_error::configuration_error;
pub use facts::{Content, FileFacts, Files, Present, PublishedPaths, State};
pub use following::{Lead, is_published, lead};
pub use listeners::{Listener, listeners};
pub use loading::{Changes, Loading, Restart, Unknown, changes, is_changed_since, loading};
pub use mounts::{Mount, mount_of, mounts};
pub use neighbours::{Neighbour, neighbours};
pub use refusals::{Refusals, Refused, last_refusals};
pub use revocation::{Revocation, among_lists, revocation};
pub use server_log::{Reloaded, last_reload};
pub use server_process::is_elsewhere;
pub use server_unreadable::{ServerUnreadable, server_unreadable};
pub use without_tls::start_without_tls;

use self::following::follows;
use crate::sql::{self, Setting, TlsSettings};
use crate::verify::ClientSettings;
use pgsvid_base::files;
use pgsvid_material::pem;

/// Largest lock file that is read, in bytes: PostgreSQL's has eight lines.
const LARGEST_LOCK: u64 = 8192;

/// Where the server's files are on this side, which means: by the paths that this process can use.
#[derive(Debug, Clone)]
pub struct Viewpoint {
    /// The published directory on this side.
    pub directory: PathBuf,
    /// The same directory as PostgreSQL sees it.
    pub seen_as: PathBuf,
    /// The server's data directory as it was found before, in case its lock file is no longer readable.
    pub data_directory: Option<PathBuf>,
}

impl Viewpoint {
    /// Finds the data directory for later use. A server that does not run yet has none.
    pub fn remember(&mut self, socket: &sql::Settings) {
        self.data_directory = data_directory(socket);
    }

    /// The path on this side of a path that PostgreSQL uses.
    fn here(&self, theirs: &Path) -> PathBuf {
        match theirs.strip_prefix(&self.seen_as) {
            Ok(rest) => self.directory.join(rest),
            Err(_) => theirs.to_owned(),
        }
    }
}

/// Examines the files that `settings` name.
#[must_use]
pub fn files(
    settings: &TlsSettings,
    socket: &sql::Settings,
    published: &PublishedPaths,
    viewpoint: &Viewpoint,
) -> Files {
    let data_directory = data_directory(socket).or_else(|| viewpoint.data_directory.clone());
    let look = |value: &str, published: &Path| {
        let mut facts = look(value, data_directory.as_deref(), viewpoint);
        let published = viewpoint.here(published);
        facts.published = facts.path.as_deref().is_some_and(|path| {
            is_same(path, &published)
                && (path == published
                    || published.parent().is_some_and(|directory| follows(path, directory)))
        });
        facts
    };
    Files {
        certificate: look(&settings.certificate.value, &published.certificate),
        private_key: look(&settings.private_key.value, &published.private_key),
        authorities: look(&settings.authorities.value, &published.bundle),
        revocation_lists: self::look(
            &settings.revocation_file,
            data_directory.as_deref(),
            viewpoint,
        ),
        parameters: self::look(
            settings.other("ssl_dh_params_file"),
            data_directory.as_deref(),
            viewpoint,
        ),
        others: settings.others.values.clone(),
        version: settings.version_number,
        psql: socket.administrator(),
        server_uid: server_uid(socket),
    }
}

/// What the settings say about client certificates.
#[must_use]
pub fn clients(settings: &TlsSettings) -> ClientSettings {
    let asks = !settings.authorities.value.is_empty();
    ClientSettings { asks, revocation: settings.revocation, nameless: false }
}

/// Examines the published files as if the server's settings named them.
#[must_use]
pub fn published_files(
    socket: &sql::Settings,
    published: &PublishedPaths,
    viewpoint: &Viewpoint,
) -> Files {
    let setting = |path: &Path| Setting { value: path.display().to_string(), ..Setting::default() };
    let settings = TlsSettings {
        certificate: setting(&published.certificate),
        private_key: setting(&published.private_key),
        authorities: setting(&published.bundle),
        ..TlsSettings::default()
    };
    files(&settings, socket, published, viewpoint)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

/// The user ID that PostgreSQL runs as: the owner of its socket. In a directory that everybody can write to, any user can
/// have created the socket; then `None`.
fn server_uid(socket: &sql::Settings) -> Option<u32> {
    let found = std::fs::symlink_metadata(socket.socket()).ok()?;
    (found.file_type().is_socket() && sql::may_listen(socket, found.uid())).then(|| found.uid())
}

/// The data directory, to which relative TLS settings refer, from the second line of the socket's lock file. `None` if that
/// file is not readable, or not trusted, or if the directory at that path here belongs to another server.
#[must_use]
pub fn data_directory(socket: &sql::Settings) -> Option<PathBuf> {
    server_process::data_directory(socket)
}

fn look(value: &str, data_directory: Option<&Path>, viewpoint: &Viewpoint) -> FileFacts {
    let facts = |path, state| FileFacts { named: value.to_owned(), path, published: false, state };
    if value.is_empty() {
        return facts(None, State::NotSet);
    }
    match place(value, data_directory, viewpoint) {
        Some(path) => {
            let state = state(&path);
            facts(Some(path), state)
        }
        None => facts(None, State::OutOfSight),
    }
}

/// The path on this side of a file that a setting names, if known.
fn place(value: &str, data_directory: Option<&Path>, viewpoint: &Viewpoint) -> Option<PathBuf> {
    let named = Path::new(value);
    let theirs = if named.is_absolute() { named.to_owned() } else { data_directory?.join(named) };
    Some(viewpoint.here(&theirs))
}

fn state(path: &Path) -> State {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::PermissionDenied => State::Closed,
                // Nothing is there; or there is a loop of links, or a file where a directory should be.
                _ => State::Missing,
            };
        }
    };
    if !metadata.is_file() {
        return State::NotRegular;
    }
    let content = match files::contents(path) {
        Ok(text) => content(&text),
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied && is_open_to_us(&metadata) =>
        {
            Content::OutsideSandbox
        }
        Err(_) => Content::Unreadable,
    };
    State::Present(Present {
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode() & 0o7777,
        modified: metadata.modified().unwrap_or(std::time::SystemTime::UNIX_EPOCH),
        content,
    })
}

/// Whether owner and mode let this process read a file.
fn is_open_to_us(metadata: &std::fs::Metadata) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    let needed = if metadata.uid() == ours { 0o400 } else { 0o004 };
    ours == 0 || metadata.mode() & needed != 0
}

/// The part of a PEM text that is parsed: the important blocks come first, and a parsed certificate takes several times its
/// text.
fn beginning(text: &[u8]) -> &[u8] {
    const MOST: usize = 512 * 1024;
    const BEGIN: &[u8] = b"-----BEGIN ";
    let Some(begun) = text.get(..MOST) else { return text };
    // The last block may end beyond the limit.
    match begun.windows(BEGIN.len()).rposition(|window| window == BEGIN) {
        Some(last) if last > 0 => &begun[..last],
        _ => begun,
    }
}

fn content(text: &[u8]) -> Content {
    let holds = |needle: &str| text.windows(needle.len()).any(|window| window == needle.as_bytes());
    if text.is_empty() {
        Content::Empty
    } else if holds("ENCRYPTED PRIVATE KEY") || holds("Proc-Type: 4,ENCRYPTED") {
        Content::Passphrase
    } else if !holds("-----BEGIN ") {
        Content::NoPem
    } else if holds("DH PARAMETERS-----") {
        Content::Parameters
    } else if holds("-----BEGIN X509 CRL-----") && !holds("-----BEGIN CERTIFICATE-----") {
        // OpenSSL refuses the file if one of its lists is incomplete, or if it finds none.
        match pem::count_revocation_lists(text) {
            Some(1..) => Content::RevocationLists,
            Some(0) | None => Content::Broken,
        }
    } else {
        let text = beginning(text);
        let certificates = pem::decode_certificates(text).ok();
        let key = pem::public_key_of(text).ok();
        if certificates.is_none() && key.is_none() {
            return Content::Broken;
        }
        Content::Pem {
            leaf: certificates
                .as_ref()
                .and_then(|found| found.first())
                .map(pgsvid_material::Certificate::fingerprint),
            leaf_key: certificates
                .as_ref()
                .and_then(|found| found.first())
                .map(|leaf| leaf.public_key().to_vec()),
            private_key: key.map(|key| key.as_ref().to_vec()),
            trusted_alone: holds("-----BEGIN TRUSTED CERTIFICATE-----")
                && !holds("-----BEGIN CERTIFICATE-----")
                && !holds("-----BEGIN X509 CERTIFICATE-----"),
        }
    }
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry};

    use super::*;

    #[test]
    fn a53_of_a_text_without_an_end_the_first_certificate_and_key_are_looked_at() {
        let authority = Authority::new("example.org", false).unwrap();
        let svid = authority.issue(&Entry::new("spiffe://example.org/db")).unwrap();
        let once = svid.chain_pem() + &svid.key_pem();
        let without_end = once.clone() + &svid.chain_pem().repeat(20_000);
        assert_eq!(content(without_end.as_bytes()), content(once.as_bytes()));
        assert!(matches!(content(once.as_bytes()), Content::Pem { leaf: Some(_), .. }));
        let cut = beginning(without_end.as_bytes());
        assert!(cut.len() <= 512 * 1024 && cut.ends_with(b"-----END CERTIFICATE-----\n"));
        assert_eq!(beginning(once.as_bytes()), once.as_bytes());
    }
}
