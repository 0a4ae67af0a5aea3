//! What is known now: the one picture that everything which reports is drawn from. Holds no key, and acts on nothing.

use std::time::SystemTime;

use crate::material::{Fingerprint, Material};
use crate::verify::Verdict;

/// The daemon's state.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The set on disk.
    pub published: Option<Published>,
    /// What the last verification found; `None` before the first, and where no server takes part.
    pub verdict: Option<Verdict>,
    /// What keeps the newest identity from being published and served, in words.
    pub problem: Option<String>,
    /// Whether the agent has withdrawn the published identity.
    pub withdrawn: bool,
    /// What the agent last said that could not be used, or how the connection to it stands, in words.
    pub agent: String,
}

/// The set on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Which publication of this process, from 1; 0 is a set that an earlier one left.
    pub generation: u64,
    /// SPIFFE ID.
    pub spiffe_id: String,
    /// The leaf's serial number, in full.
    pub serial: String,
    /// SHA-256 of the leaf.
    pub leaf: Fingerprint,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// When the chain expires.
    pub not_after: SystemTime,
}

impl Published {
    /// The facts of a material that has been published.
    #[must_use]
    pub fn of(material: &Material, generation: u64) -> Self {
        Self {
            generation,
            spiffe_id: material.spiffe_id().to_string(),
            serial: material.leaf().serial().to_string(),
            leaf: material.leaf().fingerprint(),
            not_before: material.leaf().not_before(),
            not_after: material.not_after(),
        }
    }
}
