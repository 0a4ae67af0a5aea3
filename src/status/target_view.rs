//! Where sets are published, and the published set, in the document.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Status;
use super::finding_view::FindingView;
use super::time::Time;

/// The kind of a target.
const DIRECTORY: &str = "directory";
const MEMORY: &str = "memory";

/// A place where sets are published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetView {
    /// `directory`, or `memory` if the set only goes to Kubernetes Secrets.
    pub kind: String,
    /// The path of the directory; empty for `memory`.
    pub name: String,
    /// The set on disk; `None` if none is published yet.
    pub published: Option<PublishedView>,
    /// Why readers do not find the published set under the published names; `None` if they do.
    pub displaced: Option<String>,
    /// What keeps the newest identity from being published; `None` if nothing does.
    pub problem: Option<String>,
    /// Why readers do not find the newest identity, which names the published set lacks, and which have changed, each with
    /// its remedy. Older daemons do not send this.
    #[serde(default)]
    pub findings: Vec<FindingView>,
    /// When the next attempt to publish is due, if one is.
    pub retry: Option<Time>,
}

impl TargetView {
    pub(super) fn of(status: &Status, now: SystemTime) -> Self {
        let (delay, naming) = (status.delay(now), status.names(now));
        let findings = delay.iter().chain(&naming).chain(status.order(now));
        Self {
            kind: if status.directory.is_empty() { MEMORY } else { DIRECTORY }.to_owned(),
            name: status.directory.clone(),
            published: status.published.as_ref().map(|set| PublishedView {
                generation: set.generation,
                spiffe_id: set.spiffe_id.clone(),
                serial: set.serial.clone(),
                sha256: set.leaf.to_string(),
                not_before: Time(set.not_before),
                not_after: Time(set.not_after),
                authorities_not_after: set.authorities_not_after.map(Time),
            }),
            displaced: status.displaced.clone(),
            problem: status.problem.clone(),
            findings: findings.map(FindingView::of).collect(),
            retry: status.retry.map(Time),
        }
    }
}

/// The set on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedView {
    /// Number of the publication in this process, from 1; 0 is a set that an earlier process left.
    pub generation: u64,
    /// The SPIFFE ID; for a certificate without one, its DNS names or its subject.
    pub spiffe_id: String,
    /// The leaf's serial number in hexadecimal, with colons.
    pub serial: String,
    /// SHA-256 of the leaf's DER, in hexadecimal.
    pub sha256: String,
    /// Start of the leaf's validity.
    pub not_before: Time,
    /// When the chain expires.
    pub not_after: Time,
    /// When the first of the published authorities expires.
    pub authorities_not_after: Option<Time>,
}
