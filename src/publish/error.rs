//! The errors of the published directory.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

use super::ownership::NotOurs;
use crate::material::pkcs12::NoRandomness;
use crate::text::argument;

/// The action of a directory in which nothing can be created.
pub(super) const WRITE_TO: &str = "write to";
/// Actions that a sandbox may forbid.
pub(super) const TO_GROUP: &str = "give to its group";
pub(super) const MODE_OF: &str = "set the mode of";

/// Why nothing was published. Each text names the object, the cause and, if there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be opened.
    #[error("cannot open the directory {}: {cause}{}", directory.display(), remedy_for(*cause, directory))]
    Open {
        /// The directory.
        directory: PathBuf,
        /// The error of the system call.
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
        /// The error of the system call.
        cause: Errno,
    },
    /// Others may replace the published files.
    #[error(
        "cannot publish to {0}: others may write to it (mode {mode:04o}); run chmod {1:04o} {2}{3}",
        directory.display(), mode & 0o7755, argument(directory), lasting(*mode)
    )]
    WritableByOthers {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Every user may create files in a directory.
    #[error(
        "cannot write to {}: every user may create files there, also one with this name before pgsvid does",
        directory.display()
    )]
    SharedDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The owner of a directory can replace its contents.
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
        /// The effective user ID of this process.
        ours: u32,
    },
    /// Another user can replace the published directory.
    #[error(
        "cannot publish to {0}: uid {owner} can replace it at any time, because {1} belongs to that user; publish to a \
         directory whose parents all belong to root, such as one below /run, or, as root, run chown -h {ours} {2}",
        directory.display(), ancestor.display(), argument(ancestor)
    )]
    ForeignAncestor {
        /// The directory.
        directory: PathBuf,
        /// A directory or a link on the path to it, without links.
        ancestor: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user ID of this process.
        ours: u32,
    },
    /// Others could read what is created in the directory.
    #[error(
        "cannot publish to {0}: it has a default access control list that names users or groups, who could then read \
         the private key; run setfacl -k {1}",
        directory.display(), argument(directory)
    )]
    DefaultAcl {
        /// The directory.
        directory: PathBuf,
    },
    /// Another user can replace the published directory, because others may write to a directory above it.
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
    /// Others could have created a file that has one of pgsvid's names, and it is still there. In a directory with the sticky
    /// bit only its owner, the directory's owner, and root can remove it.
    #[error("{found}: others could have put it there; as root, run rm -r {path}", found = .0, path = argument(&.0.path))]
    NotOurs(NotOurs),
    /// The sandbox allows only the directory that existed at the start.
    #[error(
        "{} was unmounted, removed or replaced since pgsvid started. The sandbox allows only the old directory, so pgsvid restarts \
         its daemon",
        directory.display()
    )]
    Replaced {
        /// The directory.
        directory: PathBuf,
    },
    /// Something that pgsvid did not create is where a link must be.
    #[error("{} {is}, and is not pgsvid's; move it away", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// What it is: `is a directory`, `is a symbolic link to …`.
        is: String,
    },
    /// A step failed.
    #[error("cannot {action} {}: {cause}{}", path.display(), told_beside(action, *cause, path))]
    Step {
        /// The action: `write`, `sync`, `create` …
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the system call.
        cause: Errno,
    },
    /// The password of a key store or a trust store cannot be used.
    #[error("cannot use the password file {}: {why}", path.display())]
    Password {
        /// The file of the password.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// Whether this process may not read it. Then the password in it may be right.
        out_of_reach: bool,
    },
    /// A key store needs random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A file does not contain what was written: a full tmpfs and some network file systems report success.
    #[error("{} does not hold what was written to it: is the volume full or faulty?", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// The command that fixes it, if one is enough.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        Some(match self {
            Self::WritableByOthers { directory, mode } => {
                format!("chmod {:04o} {}", mode & 0o7755, argument(directory))
            }
            Self::DefaultAcl { directory } => format!("setfacl -k {}", argument(directory)),
            Self::WritableAncestor { ancestor, .. } => {
                format!("chmod go-w {}", argument(ancestor))
            }
            _ => return None,
        })
    }

    /// The remedy, if known. The text contains it, too, except where the volume is full. `None` also for [`Self::NoLocks`]
    /// and [`Self::Replaced`], whose text alone says what to do.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        self.fix_for(rustix::process::geteuid().as_raw())
    }

    /// The remedy for a pgsvid that runs as the user `ours`.
    #[must_use]
    pub fn fix_for(&self, ours: u32) -> Option<String> {
        Some(match self {
            Self::WrongOwner { directory, owner, .. } => {
                format!("run pgsvid as uid {owner}, or: chown -h {ours} {}", argument(directory))
            }
            Self::ForeignAncestor { ancestor, .. } => {
                format!("as root: chown -h {ours} {}", argument(ancestor))
            }
            Self::SharedDirectory { .. } => {
                "use a directory that belongs to pgsvid's user, with mode 0755 or 0700".to_owned()
            }
            Self::WritableByOthers { .. }
            | Self::DefaultAcl { .. }
            | Self::WritableAncestor { .. } => self.command()?,
            Self::NotOurs(found) => format!("as root: rm -r {}", argument(&found.path)),
            Self::Locked { .. } => {
                "stop the other pgsvid, or give this one a directory of its own".to_owned()
            }
            Self::InTheWay { path, .. } => format!("move {} away", argument(path)),
            Self::NotWritten { path } => remedy_for(Errno::NOSPC, path).split_off(2),
            Self::Open { directory: path, cause } => {
                remedy_for(*cause, path).strip_prefix("; ")?.to_owned()
            }
            Self::Step { action, path, cause } => {
                remedy_for_step(action, *cause, path).strip_prefix("; ")?.to_owned()
            }
            // The password stays.
            Self::Password { path, out_of_reach: true, .. } => {
                let path = argument(path);
                format!(
                    "let uid {ours} enter the directories of {path}, and, as root: chown -h {ours} {path}"
                )
            }
            Self::Password { path, .. } => {
                let is_directory = std::fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
                let path = argument(path);
                let first =
                    if is_directory { format!("move {path} away, then ") } else { String::new() };
                // A link or an open mode that somebody has put there must not remain.
                format!(
                    "{first}write the password of the stores to {path}, as one line; or a new one, as root: rm -f {path} && (umask \
                     077 && set -C && openssl rand -hex 16 > {path}) && chown -h {ours} {path}"
                )
            }
            Self::NoLocks { .. } | Self::Replaced { .. } | Self::NoRandomness(_) => return None,
        })
    }

    /// Whether removing old generations may help.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Step { cause, .. } => matches!(*cause, Errno::NOSPC | Errno::DQUOT),
            Self::NotWritten { .. } => true,
            _ => false,
        }
    }

    /// Whether the kernel is out of some resource: then nothing could be examined, either.
    #[must_use]
    pub fn is_exhaustion(&self) -> bool {
        let (Self::Open { cause, .. } | Self::Step { cause, .. }) = self else { return false };
        matches!(*cause, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
    }

    /// Identifies the problem: the text without the names of generations, because each try has its own.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Step { action, cause, .. } => format!("cannot {action}: {cause}"),
            Self::NotWritten { .. } => "does not hold what was written".to_owned(),
            _ => self.to_string(),
        }
    }

    /// Whether this process can never publish again, but another one may.
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

/// The additional remedy if the mode is set again at each start: a pod's fsGroup gives each directory of a volume its group,
/// with write permission, and the setgid bit (Kubernetes: `SetVolumeOwnership`).
fn lasting(mode: u32) -> &'static str {
    if mode & 0o2020 == 0o2020 {
        ". If the fsGroup of a pod sets this mode, it does so again at each start: leave fsGroup out, or mount an emptyDir of \
         its own there, which pgsvid accepts with this mode"
    } else {
        ""
    }
}

/// A new file's attributes depend on the directory's setgid bit and default access control list.
fn remedy_for_step(action: &str, cause: Errno, path: &std::path::Path) -> String {
    if cause == Errno::PERM && [TO_GROUP, MODE_OF].contains(&action) {
        return "; run pgsvid as root, or as a member of that group. \
                The sandbox forbids chmod and chgrp after the start. Restart pgsvid"
            .to_owned();
    }
    let ours = rustix::process::geteuid().as_raw();
    if action == WRITE_TO
        && cause == Errno::ACCESS
        && std::fs::metadata(path).is_ok_and(|found| found.uid() == ours)
    {
        return format!("; run chmod u+wx {}", argument(path));
    }
    remedy_for(cause, path)
}

/// The first directory above the path that this process may not enter.
fn closed(path: &std::path::Path) -> Option<&std::path::Path> {
    let above: Vec<_> = path.ancestors().skip(1).collect();
    let is_closed = |directory: &&&std::path::Path| {
        rustix::fs::access(**directory, rustix::fs::Access::EXEC_OK) == Err(Errno::ACCESS)
    };
    above.iter().rev().find(is_closed).copied()
}

/// What an error's text says about the remedy. Nothing for a full volume: the remedy is reported in a field of its own.
fn told_beside(action: &str, cause: Errno, path: &std::path::Path) -> String {
    if matches!(cause, Errno::NOSPC | Errno::DQUOT) {
        return String::new();
    }
    remedy_for_step(action, cause, path)
}

/// The remedy for a full volume, the same in every command.
pub const FREE_SPACE: &str = "free space on the volume; `pgsvid run` then publishes by itself";

fn remedy_for(cause: Errno, path: &std::path::Path) -> String {
    let ours = rustix::process::geteuid().as_raw();
    match cause {
        Errno::NOENT => {
            let path = argument(path);
            // Neither command follows a link that somebody has put there in the meantime.
            format!("; as root, run mkdir -m 0755 {path} && chown -h {ours} {path}")
        }
        Errno::NOSPC | Errno::DQUOT => format!("; {FREE_SPACE}"),
        Errno::ROFS => "; mount the volume read-write for pgsvid".to_owned(),
        Errno::ACCESS | Errno::PERM => match closed(path) {
            Some(above) => {
                format!("; let uid {ours} enter {0}, as its owner: chmod a+x {0}", argument(above))
            }
            None => format!(
                "; give the directory to uid {ours}, which pgsvid runs as, or run pgsvid as its owner"
            ),
        },
        _ => String::new(),
    }
}

/// The kernel's error number.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
