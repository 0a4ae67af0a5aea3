//! What can go wrong with the published directory.

use std::path::PathBuf;

use rustix::io::Errno;

use super::ownership::NotOurs;
use crate::text::argument;

/// Actions that a sandbox may keep us from.
pub(super) const TO_GROUP: &str = "give to its group";
pub(super) const MODE_OF: &str = "set the mode of";

/// Why nothing was published. Each text names the object, the cause and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be opened.
    #[error("cannot open the directory {}: {cause}{}", directory.display(), remedy_for(*cause, directory))]
    Open {
        /// The directory.
        directory: PathBuf,
        /// What the kernel said.
        cause: Errno,
    },
    /// Another instance publishes there.
    #[error("{} is in use by another pgsvid; stop it, or give this one a directory of its own", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory's file system has no locks.
    #[error(
        "cannot lock {0}: its file system has no locks ({cause}), and without one another pgsvid could remove the set that \
         PostgreSQL starts from; publish to a file system of this machine, such as a tmpfs below /run",
        directory.display()
    )]
    NoLocks {
        /// The directory.
        directory: PathBuf,
        /// What the kernel said.
        cause: Errno,
    },
    /// Others may replace what is published.
    #[error(
        "cannot publish to {0}: others may write to it (mode {mode:04o}); run chmod {1:04o} {2}",
        directory.display(), mode & 0o7755, argument(directory)
    )]
    WritableByOthers {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The owner of a directory can replace what is in it.
    #[error(
        "cannot publish to {0}: it belongs to uid {owner}, and pgsvid runs as uid {ours}; run pgsvid as uid {owner}, \
         or chown -h {ours} {1}",
        directory.display(), argument(directory)
    )]
    WrongOwner {
        /// The directory.
        directory: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective uid.
        ours: u32,
    },
    /// Somebody can put another directory in the place of the published one.
    #[error(
        "cannot publish to {0}: uid {owner} can replace it at any time, because {1} belongs to that user; publish to a \
         directory whose parents are all root's, such as one below /run, or, as root, run chown -h {ours} {2}",
        directory.display(), ancestor.display(), argument(ancestor)
    )]
    ForeignAncestor {
        /// The directory.
        directory: PathBuf,
        /// A directory or a link on the way to it, without links.
        ancestor: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective uid.
        ours: u32,
    },
    /// What is made in the directory would be readable for others.
    #[error(
        "cannot publish to {0}: it has a default access control list that names users or groups, who could come to read \
         the private key; run setfacl -k {1}",
        directory.display(), argument(directory)
    )]
    DefaultAcl {
        /// The directory.
        directory: PathBuf,
    },
    /// Somebody can put another directory in the place of the published one: others may write to a directory above.
    #[error(
        "cannot publish to {0}: others can replace it at any time, because they may write to {1} (mode {mode:04o}); run \
         chmod go-w {2}",
        directory.display(), ancestor.display(), argument(ancestor)
    )]
    WritableAncestor {
        /// The directory.
        directory: PathBuf,
        /// A directory above it, without links.
        ancestor: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others could have put something at one of our names, and it is still there. In a directory with the sticky bit
    /// only its owner, the directory's, and root can remove it.
    #[error("{found}: others could have put it there; as root, run rm -r {path}", found = .0, path = argument(&.0.path))]
    NotOurs(NotOurs),
    /// A sandbox binds us to the directory that was there when it was entered.
    #[error(
        "{} was unmounted, removed or replaced since pgsvid started, and its sandbox binds it to what was there then; \
         this process ends, for the next one to use what is there now",
        directory.display()
    )]
    Replaced {
        /// The directory.
        directory: PathBuf,
    },
    /// Something that is not ours stands where a link has to be.
    #[error("{} {is}, and is not pgsvid's; move it away", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// What it is: `is a directory`, `is a symbolic link to …`.
        is: String,
    },
    /// A step failed.
    #[error("cannot {action} {}: {cause}{}", path.display(), remedy_for_step(action, *cause, path))]
    Step {
        /// What was attempted, `write`, `sync`, `create` …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        cause: Errno,
    },
    /// What was read back is not what was written: a full tmpfs and some network file systems lie.
    #[error("{} does not hold what was written to it: is the volume full or faulty?", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether removing old generations may help.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Step { cause, .. } => matches!(*cause, Errno::NOSPC | Errno::DQUOT),
            Self::NotWritten { .. } => true,
            _ => false,
        }
    }

    /// Whether the kernel lacks something for the moment: then nothing could be looked at either.
    #[must_use]
    pub fn is_exhaustion(&self) -> bool {
        let (Self::Open { cause, .. } | Self::Step { cause, .. }) = self else { return false };
        matches!(*cause, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
    }

    /// Tells one trouble from the next: the text, without the names of generations, of which each try has its own.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Step { action, cause, .. } => format!("cannot {action}: {cause}"),
            Self::NotWritten { .. } => "does not hold what was written".to_owned(),
            _ => self.to_string(),
        }
    }

    /// Whether this process will never be able to publish again, and another one may.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        matches!(self, Self::Replaced { .. })
    }

    /// Whether another instance holds the directory's lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}

/// What a new file gets changes with the directory's setgid bit and default access control list.
fn remedy_for_step(action: &str, cause: Errno, path: &std::path::Path) -> String {
    if cause == Errno::PERM && [TO_GROUP, MODE_OF].contains(&action) {
        return "; run pgsvid as root, or as a member of that group; if it is, start it again: its sandbox lets it change no \
                group and no mode where new files had the right ones at the start"
            .to_owned();
    }
    remedy_for(cause, path)
}

fn remedy_for(cause: Errno, path: &std::path::Path) -> String {
    let ours = rustix::process::geteuid().as_raw();
    match cause {
        Errno::NOENT => {
            let path = argument(path);
            // Neither follows a link that somebody has put there meanwhile.
            format!("; as root, run mkdir -m 0755 {path} && chown -h {ours} {path}")
        }
        Errno::NOSPC | Errno::DQUOT => "; make room on the volume".to_owned(),
        Errno::ROFS => "; mount the volume read-write for pgsvid".to_owned(),
        Errno::ACCESS | Errno::PERM => {
            format!(
                "; give the directory to uid {ours}, which pgsvid runs as, or run pgsvid as its owner"
            )
        }
        _ => String::new(),
    }
}

/// The kernel's number of an error.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
