//! Who could have written an entry of the published directory. An entry counts only if nobody but its owner could have.

use std::path::PathBuf;

use rustix::fs::{FileType, Stat};

/// An entry of the published directory that somebody else could have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", path.display())]
pub struct NotOurs {
    /// Its path.
    pub path: PathBuf,
    /// The reason.
    pub reason: Reason,
}

/// Why an entry does not count as pgsvid's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It belongs to another user.
    #[error("belongs to uid {owner}, and pgsvid runs as uid {ours}")]
    Owner {
        /// Its owner.
        owner: u32,
        /// The effective user ID of this process.
        ours: u32,
    },
    /// Its mode lets others write to it, or has bits that pgsvid never sets.
    #[error("has the mode {0:04o}, with which others could have written to it")]
    Mode(u32),
    /// Somebody has created a hard link to it.
    #[error("has {0} hard links, and a file of pgsvid has one")]
    Names(u64),
    /// It is a link with another target than pgsvid's links have.
    #[error("is a link that leads elsewhere")]
    Target,
    /// It is pgsvid's own, but somebody else has renamed it: it may be older than the latest publication.
    #[error(
        "was renamed, or given another owner or mode, after pgsvid had published it, so it may be an older one that others have put back"
    )]
    Renamed,
    /// It is a link, a directory, a pipe or a device.
    #[error("is not a regular file")]
    Kind,
}

impl NotOurs {
    /// Whether root has created it. Root is trusted, so it may stay until it is replaced.
    #[must_use]
    pub fn is_roots(&self) -> bool {
        matches!(self.reason, Reason::Owner { owner: 0, .. })
    }
}

/// The users whose files and links are accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners([u32; 3]);

impl Owners {
    /// Only this process's user: for sets that are adopted as own.
    pub(super) fn ours() -> Self {
        Self([ours(); 3])
    }

    /// This process's user, and root, who could write anything anyway.
    pub(super) fn ours_or_roots() -> Self {
        Self([ours(), ours(), 0])
    }

    /// For a reader of what another user has published: the directory's owner is judged separately.
    pub(super) fn of_directory(owner: u32) -> Self {
        Self([ours(), owner, 0])
    }

    /// Judges by the owner only, as for a link: it has no mode, and its target cannot be changed.
    pub(super) fn judge_owner(self, owner: u32) -> Result<(), Reason> {
        if self.0.contains(&owner) {
            return Ok(());
        }
        Err(Reason::Owner { owner, ours: ours() })
    }

    /// Judges a directory. Whatever mode an earlier run was configured to set is stricter than this check. In a setgid
    /// directory a new directory has setgid, too, which grants nothing.
    pub(super) fn judge_directory(self, stat: &Stat) -> Result<(), Reason> {
        self.judge_owner(stat.st_uid)?;
        judge_mode(stat.st_mode, 0o5022)
    }

    /// Judges a file where others cannot create one: by who may write to it. A group may be a user's own, as with a umask of
    /// 0002.
    pub(super) fn judge_left(self, stat: &Stat) -> Result<(), Reason> {
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Reason::Kind);
        }
        self.judge_owner(stat.st_uid)?;
        judge_mode(stat.st_mode, 0o7002)
    }

    /// Judges a file. Where others cannot create one, it may have more hard links, for example from a backup.
    pub(super) fn judge_file(self, stat: &Stat) -> Result<(), Reason> {
        self.judge_left(stat)?;
        judge_mode(stat.st_mode, 0o7022)
    }

    /// Judges a file where others may create one: it may be a file of this process's user with another purpose.
    pub(super) fn judge_plain(self, stat: &Stat) -> Result<(), Reason> {
        self.judge_file(stat)?;
        #[allow(clippy::useless_conversion, reason = "its width depends on the processor")]
        let names = u64::from(stat.st_nlink);
        if names == 1 { Ok(()) } else { Err(Reason::Names(names)) }
    }
}

fn judge_mode(mode: u32, refused: u32) -> Result<(), Reason> {
    let mode = mode & 0o7777;
    if mode & refused == 0 { Ok(()) } else { Err(Reason::Mode(mode)) }
}

/// Adds the path of what was judged.
pub(super) fn at(path: PathBuf) -> impl FnOnce(Reason) -> NotOurs {
    move |reason| NotOurs { path, reason }
}

fn ours() -> u32 {
    rustix::process::geteuid().as_raw()
}
