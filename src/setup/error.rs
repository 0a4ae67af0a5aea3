//! What keeps a set-up from being applied or taken back. Each says what was left as it was.

use std::io;
use std::path::PathBuf;

use super::block::Marks;
use crate::{publish, sql};

impl Error {
    /// Whether PostgreSQL has refused a statement, which then was not executed.
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

/// Why it did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No session.
    #[error("cannot log in as superuser {user}: {cause}{}", remedy.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
    Login {
        /// The superuser.
        user: String,
        /// Why not.
        cause: sql::Error,
        /// What to do.
        remedy: Option<String>,
    },
    /// Nobody can be reached there.
    #[error("cannot connect to {}: {cause}{}; nothing was changed", socket.display(), remedy.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        cause: sql::Error,
        /// What to do.
        remedy: Option<String>,
    },
    /// The server is somebody else's than ours.
    #[error(
        "uid {listener} listens on {}, and this runs as uid {ours}: only a server of your own user can be set up; if uid {listener} is PostgreSQL's user, run this as that user or as root, else see who has put a socket there; nothing was sent or changed",
        socket.display()
    )]
    ForeignListener {
        /// The socket.
        socket: PathBuf,
        /// The user of the process that listens.
        listener: u32,
        /// Our own.
        ours: u32,
    },
    /// What listens is no PostgreSQL, but leads to one at best.
    #[error(
        "root listens on {}, and PostgreSQL never runs as root: name the directory of PostgreSQL's own socket with --postgres, or run this as PostgreSQL's user; nothing was sent or changed",
        socket.display()
    )]
    RootListens {
        /// The socket.
        socket: PathBuf,
    },
    /// Root's rights could not be given up.
    #[error(
        "cannot go on as {user}, whose server listens: {cause}; run this as that user; nothing was sent or changed"
    )]
    NotBecome {
        /// The listener's user.
        user: String,
        /// What is in the way.
        cause: io::Error,
    },
    /// The server names a data directory that its user does not own.
    #[error(
        "the server says that its data directory is {}, which belongs to uid {owner}, but this goes on as uid {ours}, who listens on the socket: see who has put a socket there, or run this as uid {owner}; nothing was changed",
        path.display()
    )]
    NotTheOwners {
        /// The directory that the server names.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user that we are.
        ours: u32,
    },
    /// A role without the power.
    #[error("role {0} is no superuser; name one: --superuser postgres")]
    NoSuperuser(String),
    /// A statement failed.
    #[error(
        "`{statement}` was not executed: {cause}{}; `pgsvid setup revert` takes back what was done before",
        remedy.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default()
    )]
    Statement {
        /// The statement.
        statement: String,
        /// Why.
        cause: sql::Error,
        /// What to do, if it was not PostgreSQL that refused.
        remedy: Option<String>,
    },
    /// A question to the server failed.
    #[error("cannot examine the server: {0}")]
    Examination(sql::Error),
    /// The server's files are not here.
    #[error(
        "cannot reach PostgreSQL's data directory {} from here ({why}): run this where it is, as PostgreSQL's user or as root, or paste what `pgsvid setup all` prints; nothing was changed",
        path.display()
    )]
    Elsewhere {
        /// The data directory, as the server sees it.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The directory of the files cannot be looked at.
    #[error("{0}; nothing was changed")]
    Directory(publish::Error),
    /// There is nothing to serve.
    #[error(
        "no valid set is published in {}: {why}; run `pgsvid fetch` (or `pgsvid run`) with these settings first, since PostgreSQL does not start with ssl = on and without the files; nothing was changed",
        directory.display()
    )]
    NotPublished {
        /// The published directory.
        directory: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// PostgreSQL would refuse the files.
    #[error("PostgreSQL would refuse the published files: {cause}; {fix}; nothing was changed")]
    Unusable {
        /// Why.
        cause: String,
        /// What to do.
        fix: String,
    },
    /// The probe says otherwise.
    #[error("{0}; `pgsvid check` may know the cause")]
    NotServed(String),
    /// The settings could not all be set, or the files are not served.
    #[error("{0}; the settings were put back as they were")]
    PutBack(Box<Error>),
    /// And could not be put back either.
    #[error(
        "{error}; and the settings could not be put back: {cause}; run `pgsvid setup revert` before PostgreSQL is restarted"
    )]
    NotRestored {
        /// What went wrong first.
        error: Box<Error>,
        /// And then.
        cause: Box<Error>,
    },
    /// A file of the server's cannot be read or written.
    #[error("cannot edit {}: {cause}; it is as it was", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Somebody has edited our marks.
    #[error("cannot edit {}: {marks}; mend or remove them by hand", path.display())]
    Marks {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        marks: Marks,
    },
    /// The files are wrong before we have touched them.
    #[error("{0} already: mend it first; pg_hba.conf and pg_ident.conf are as they were")]
    AlreadyWrong(String),
    /// The server does not take what we wrote.
    #[error("PostgreSQL objects: {0}; pg_hba.conf and pg_ident.conf are as they were before")]
    Objection(String),
    /// And the former file could not be put back.
    #[error("{objection}; and {} could not be put back: {cause}; a copy of what it was is beside it", path.display())]
    NotPutBack {
        /// What PostgreSQL said.
        objection: String,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Somebody else is setting the server up.
    #[error("another `pgsvid setup` is at work on this server; wait for it, and try again")]
    AtWork,
    /// The record cannot be read or written.
    #[error("cannot use the record {}: {cause}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: io::Error,
    },
}
