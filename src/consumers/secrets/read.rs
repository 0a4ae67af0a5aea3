//! What is kept of the Secrets that were read, and are not written yet.

use crate::kubernetes::Secret;

/// A Secret, as it was read.
pub(super) enum Read {
    /// It could not be read, or written.
    Failed,
    /// It has this state; `None` if it does not exist.
    Found(Option<Secret>),
    /// It was read, and there is no room to keep it: it is read again when it is needed.
    Again,
}

/// How many bytes of memory the Secrets may take that were read, and are not written yet.
const ROOM: usize = 2 * 1024 * 1024;

impl Read {
    fn size(&self) -> usize {
        match self {
            Self::Found(Some(secret)) => secret.size(),
            Self::Failed | Self::Found(None) | Self::Again => 0,
        }
    }

    /// The Secret, if there is room for it beside the others.
    pub(super) fn kept(secret: Option<Secret>, others: &[Self]) -> Self {
        let found = Self::Found(secret);
        let taken: usize = others.iter().map(Self::size).sum();
        if taken + found.size() > ROOM { Self::Again } else { found }
    }
}
