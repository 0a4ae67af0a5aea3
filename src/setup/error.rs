//! What keeps setup from being applied or reverted. Most messages also say what was left unchanged, restored or not restored.

use std::io;
use std::path::PathBuf;

use super::block::Marks;
use crate::{publish, sql};

impl Error {
    /// Whether PostgreSQL refused a statement, so that it was not executed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Statement {
                cause: sql::Error::Refused { login: false, .. } | sql::Error::EventTrigger { .. },
                ..
            }
        )
    }
}

/// Why it did not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The superuser's session could not be opened.
    #[error("cannot log in as superuser {user}: {cause}{}", remedy.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
    Login {
        /// The superuser.
        user: String,
        /// The reason.
        cause: sql::Error,
        /// The remedy.
        remedy: Option<String>,
    },
    /// No server is reachable at the socket.
    #[error("cannot connect to {}: {cause}{}; nothing was changed", socket.display(), remedy.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// The reason.
        cause: sql::Error,
        /// The remedy.
        remedy: Option<String>,
    },
    /// The server belongs to another user.
    #[error(
        "uid {listener} listens on {}, but this runs as uid {ours}. Nothing was sent or changed. If uid {listener} is PostgreSQL's user, run this as that user or as root. Otherwise find out who created the socket",
        socket.display()
    )]
    ForeignListener {
        /// The socket.
        socket: PathBuf,
        /// The user ID of the process that listens.
        listener: u32,
        /// The user ID of this process.
        ours: u32,
    },
    /// The listener is not PostgreSQL; at best it forwards connections to one.
    #[error(
        "root listens on {}, but PostgreSQL never runs as root: name the directory of PostgreSQL's own socket with --postgres, or run this as PostgreSQL's user; nothing was sent or changed",
        socket.display()
    )]
    RootListens {
        /// The socket.
        socket: PathBuf,
    },
    /// This process could not give up root's rights.
    #[error(
        "cannot switch to {user}, the user of the server: {cause}; run this as that user; nothing was sent or changed"
    )]
    NotBecome {
        /// The listener's user.
        user: String,
        /// The reason.
        cause: io::Error,
    },
    /// The server reports a data directory that its user does not own.
    #[error(
        "the server says that its data directory is {}, which belongs to uid {owner}, but this runs as uid {ours}, the user who listens on the socket: find out who created the socket, or run this as uid {owner}; nothing was changed",
        path.display()
    )]
    NotTheOwners {
        /// The reported directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user ID of this process.
        ours: u32,
    },
    /// The role is not a superuser.
    #[error("role {0} is not a superuser; name one: --superuser postgres")]
    NoSuperuser(String),
    /// A statement failed.
    #[error(
        "`{statement}` was not executed: {cause}{}; `pgsvid setup revert` undoes the steps before it",
        remedy.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default()
    )]
    Statement {
        /// The statement.
        statement: String,
        /// The reason.
        cause: sql::Error,
        /// The remedy, if it was not PostgreSQL that refused.
        remedy: Option<String>,
    },
    /// A query failed.
    #[error("cannot examine the server: {0}")]
    Examination(sql::Error),
    /// The server's files cannot be reached from this process.
    #[error(
        "cannot reach PostgreSQL's data directory {} from here ({why}): run this where that directory is, as PostgreSQL's user or as root, or paste what `pgsvid setup all` prints; nothing was changed",
        path.display()
    )]
    Elsewhere {
        /// The data directory, as the server sees it.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The published directory cannot be examined.
    #[error("{0}; nothing was changed")]
    Directory(publish::Error),
    /// There is nothing to serve.
    #[error(
        "no valid set is published in {}: {why}; run `pgsvid fetch` (or `pgsvid run`) with these settings first, because PostgreSQL does not start with ssl = on and without the files; nothing was changed",
        directory.display()
    )]
    NotPublished {
        /// The published directory.
        directory: PathBuf,
        /// The reason.
        why: String,
    },
    /// The source's own files, which PostgreSQL reads where they are, are not a set.
    #[error(
        "the files of [certificates] are not a valid set: {why}; PostgreSQL does not start with ssl = on and without it; nothing was changed"
    )]
    NoSet {
        /// The reason.
        why: String,
    },
    /// PostgreSQL would refuse the files.
    #[error("PostgreSQL would refuse the published files: {cause}; {fix}; nothing was changed")]
    Unusable {
        /// The reason.
        cause: String,
        /// The remedy.
        fix: String,
    },
    /// The probe does not show the published set.
    #[error("{0}; `pgsvid check` may find the cause")]
    NotServed(String),
    /// Not all settings could be set, or PostgreSQL does not serve the files.
    #[error("{0}; the settings have their old values again")]
    PutBack(Box<Error>),
    /// The settings could not be restored either.
    #[error(
        "{error}; and the settings could not be restored: {cause}; run `pgsvid setup revert` before PostgreSQL is restarted"
    )]
    NotRestored {
        /// The first error.
        error: Box<Error>,
        /// The error of the restoration.
        cause: Box<Error>,
    },
    /// A file of the server cannot be read or written.
    #[error("cannot edit {}: {cause}; it is unchanged", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// Somebody has edited the marks of setup's block.
    #[error("cannot edit {}: {marks}; fix or remove them by hand", path.display())]
    Marks {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        marks: Marks,
    },
    /// The files are already wrong.
    #[error("{0} already: fix it first; pg_hba.conf and pg_ident.conf are unchanged")]
    AlreadyWrong(String),
    /// PostgreSQL refuses the new lines.
    #[error("PostgreSQL objects: {0}; pg_hba.conf and pg_ident.conf have their old contents again")]
    Objection(String),
    /// The old file could not be restored either.
    #[error("{objection}; and {} could not be restored: {cause}; a copy of the old file is beside it", path.display())]
    NotPutBack {
        /// PostgreSQL's objection.
        objection: String,
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// Another setup of the same server is running.
    #[error("another `pgsvid setup` works on this server; wait for it, and try again")]
    AtWork,
    /// The record cannot be read or written.
    #[error("cannot use the record {}: {cause}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
}
