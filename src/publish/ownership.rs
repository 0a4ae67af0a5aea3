//! Whose a thing in the published directory is. It counts only if nobody but its owner could have written it.

use std::path::PathBuf;

use rustix::fs::{FileType, Stat};

/// Something in the published directory that somebody else could have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", path.display())]
pub struct NotOurs {
    /// Its path.
    pub path: PathBuf,
    /// How it is seen.
    pub reason: Reason,
}

/// Why a thing is not counted as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It belongs to another user.
    #[error("belongs to uid {owner}, and pgsvid runs as uid {ours}")]
    Owner {
        /// Its owner.
        owner: u32,
        /// Our effective uid.
        ours: u32,
    },
    /// Its permission bits let others write to it, or are some that pgsvid never sets.
    #[error("has the mode {0:04o}, with which others could have written to it")]
    Mode(u32),
    /// Somebody has linked it here from elsewhere, or from here to elsewhere.
    #[error("has {0} names (hard links), and a file of pgsvid's has one")]
    Names(u64),
    /// It is a link that leads elsewhere than pgsvid's do.
    #[error("is a link that leads elsewhere")]
    Target,
    /// It is ours, and was given its name by a rename that is not ours: it may be older than what we have published last.
    #[error(
        "was renamed, or given another owner or mode, after pgsvid had published it, so it may be an older one that others have put back"
    )]
    Renamed,
    /// It is a link, a directory, a pipe or a device.
    #[error("is not a regular file")]
    Kind,
}

impl NotOurs {
    /// Whether root has put it there. Root is trusted, so it may stay until it is replaced.
    #[must_use]
    pub fn is_roots(&self) -> bool {
        matches!(self.reason, Reason::Owner { owner: 0, .. })
    }
}

/// The users whose files and links count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners([u32; 3]);

impl Owners {
    /// We alone: what is adopted as our own former set.
    pub(super) fn ours() -> Self {
        Self([ours(); 3])
    }

    /// We, and root, who could write anything anyway.
    pub(super) fn ours_or_roots() -> Self {
        Self([ours(), ours(), 0])
    }

    /// For somebody who looks at what another user has published: the directory's owner is judged by itself.
    pub(super) fn of_directory(owner: u32) -> Self {
        Self([ours(), owner, 0])
    }

    /// Judges by the owner alone, as for a link: it has no mode, and its target cannot be changed.
    pub(super) fn judge_owner(self, owner: u32) -> Result<(), Reason> {
        if self.0.contains(&owner) {
            return Ok(());
        }
        Err(Reason::Owner { owner, ours: ours() })
    }

    /// Judges a directory. What a former run was configured to set is narrower than this, whatever it was.
    /// One that was made in a setgid directory is one itself, which gives nobody a right.
    pub(super) fn judge_directory(self, stat: &Stat) -> Result<(), Reason> {
        self.judge_owner(stat.st_uid)?;
        judge_mode(stat.st_mode, 0o5022)
    }

    /// Judges a file where others cannot put one: by those who may write to it. A group may be a user's own, as with a
    /// umask of 0002.
    pub(super) fn judge_left(self, stat: &Stat) -> Result<(), Reason> {
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Reason::Kind);
        }
        self.judge_owner(stat.st_uid)?;
        judge_mode(stat.st_mode, 0o7002)
    }

    /// Judges a file, which may have more names where others cannot put one, as a backup gives it.
    pub(super) fn judge_file(self, stat: &Stat) -> Result<(), Reason> {
        self.judge_left(stat)?;
        judge_mode(stat.st_mode, 0o7022)
    }

    /// Judges a file where others may put one: it may be one of ours that is meant for something else.
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

/// Names the thing that was judged.
pub(super) fn at(path: PathBuf) -> impl FnOnce(Reason) -> NotOurs {
    move |reason| NotOurs { path, reason }
}

fn ours() -> u32 {
    rustix::process::geteuid().as_raw()
}
