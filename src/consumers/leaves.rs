//! The leaves that were published to a consumer, to recognise an earlier one if it is still served.

use std::collections::VecDeque;

use crate::material::Fingerprint;

/// How many earlier leaves are stored.
const EARLIER: usize = 64;

/// The published leaf, and the leaves before it.
#[derive(Default)]
pub(super) struct Leaves {
    published: Option<Fingerprint>,
    earlier: VecDeque<Fingerprint>,
}

impl Leaves {
    /// Records the leaf that is published now.
    pub(super) fn publish(&mut self, leaf: Fingerprint) {
        if let Some(before) = self.published.replace(leaf)
            && before != leaf
        {
            self.earlier.push_back(before);
            if self.earlier.len() > EARLIER {
                self.earlier.pop_front();
            }
        }
    }

    /// The published leaf.
    pub(super) fn published(&self) -> Option<Fingerprint> {
        self.published
    }

    /// The leaves before it, the oldest first.
    pub(super) fn earlier(&self) -> Vec<Fingerprint> {
        self.earlier.iter().copied().collect()
    }
}
