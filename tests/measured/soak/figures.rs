//! What must not grow.

use std::fmt;

/// What a process and its directory take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Resident memory in KiB.
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Entries of the published directory.
    pub(crate) entries: usize,
}

impl Figures {
    /// The higher of each.
    pub(crate) fn highest(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            entries: self.entries.max(other.entries),
        }
    }

    /// Nothing has grown between two moments at which nothing was going on. A mebibyte of memory is left to the
    /// allocator, which gives back what it likes.
    #[track_caller]
    pub(crate) fn assert_no_more_than(self, before: Self) {
        assert!(self.resident <= before.resident + 1024, "memory has grown: {before} -> {self}");
        assert!(self.descriptors <= before.descriptors + 1, "descriptors: {before} -> {self}");
        assert!(self.threads <= before.threads + 1, "threads: {before} -> {self}");
    }

    /// At no moment was there more than there should be: the agent's connection, a session and a probe; the threads of
    /// runtime, log and files; `keep_at_most` generations, one that is being written, and links.
    #[track_caller]
    pub(crate) fn assert_bounded(self) {
        assert!(self.descriptors <= 24, "{self}");
        assert!(self.threads <= 6, "{self}");
        assert!(self.entries <= 24, "{self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, descriptors, threads, entries } = self;
        write!(
            f,
            "{resident} KiB resident, {descriptors} descriptors, {threads} threads, {entries} directory entries"
        )
    }
}
