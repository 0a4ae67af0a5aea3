//! What reads the published set: told to read it again, and looked at until it is proven to serve it.
//!
//! One room for each kind. A consumer knows nothing of where the set comes from, or of what else reads it.

mod consumer;
pub(crate) mod delivery;
mod postgres;
mod problem;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use consumer::{Concluded, Consumer};
pub(crate) use postgres::Attempt;
pub use postgres::Server;

use crate::material::{Certificate, Fingerprint, Material};

/// What a probe tells one published set from the next by: the leaf, what is behind it, and the names of the authorities.
type Features = (Fingerprint, Vec<Fingerprint>, BTreeSet<Vec<u8>>);

/// One consumer's way to the published set.
type Delivery = delivery::Delivery<Features>;

/// A set that readers find.
#[derive(Clone)]
pub(crate) struct Publication {
    /// Which publication of this process, from 1; 0 is a set that an earlier one left.
    pub(crate) generation: u64,
    pub(crate) material: Arc<Material>,
    /// What was published in the bundle beside the identity's own authorities.
    pub(crate) extra_authorities: Vec<Certificate>,
}

impl Publication {
    /// How long its leaf is valid in all.
    fn life(&self) -> Duration {
        let leaf = self.material.leaf();
        leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod fake;
