//! The consumers of the published set: each server is asked to read it again, and checked until it is proven to serve it; a client
//! logs in with it; the servers of others are only looked at.
//!
//! One room for each kind. A consumer knows nothing about the source of the set, or about other consumers.

mod attempt;
mod client;
mod construction;
mod consumer;
pub(crate) mod delivery;
mod kind;
mod leaves;
mod patroni;
mod pgbouncer;
mod postgres;
mod problem;
mod report;
mod secrets;
mod served;
mod socket;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::pgbouncer::unusable_in_place;
pub(crate) use attempt::{Attempt, FollowUp};
pub(crate) use client::try_once;
pub use client::{ClientLogin, Dial, Host, TargetState};
pub(crate) use consumer::{Concluded, Consumer};
pub use patroni::RestApi;
pub use pgbouncer::Pooler;
pub use postgres::{Claims, Server, SessionSettings};
pub(crate) use secrets::examine as examine_secrets;
pub use secrets::{
    Field as SecretField, Lease as SecretsLease, Settings as SecretsSettings,
    Target as SecretTarget,
};
pub use served::ServedAddress;
pub(crate) use served::look_once;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::material::{Certificate, Fingerprint, Material};
use crate::verify::{Expected, Target};

/// The features by which a probe distinguishes published sets: the leaf, the intermediates, and the names of the authorities.
type Features = (Fingerprint, Vec<Fingerprint>, BTreeSet<Vec<u8>>);

/// The features of the set that a consumer should serve.
fn features(expected: &Expected) -> Features {
    (expected.leaf, expected.intermediates.clone(), expected.authorities.clone())
}

/// The consumers that a handshake proves to serve the set: the name of each, and where it is verified.
pub fn verified<'a>(
    servers: &'a [Server],
    poolers: &'a [Pooler],
    patroni: Option<&'a RestApi>,
) -> impl Iterator<Item = (&'a str, &'a Target)> {
    let servers = servers.iter().map(|it| (it.name.as_str(), &it.verify.target));
    let poolers = poolers.iter().map(|it| (it.name.as_str(), &it.verify.target));
    let patroni = patroni.into_iter().map(|it| (it.name.as_str(), &it.verify.target));
    servers.chain(poolers).chain(patroni)
}

/// The delivery of the published set to one consumer.
type Delivery = delivery::Delivery<Features>;

/// Whose set was handed over to those who reload the instances of a `[[served]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// That of this process with this number, at this moment.
    Own { generation: u64, at: Instant },
    /// That of another replica, which writes the Secrets since this moment at the latest.
    ByAnother(Instant),
}

/// A published set, which readers find in the directory.
#[derive(Clone)]
pub(crate) struct Publication {
    /// Number of the publication in this process, from 1; 0 is a set that an earlier process left.
    pub(crate) generation: u64,
    pub(crate) material: Arc<Material>,
    /// The authorities that were published in addition to the identity's own.
    pub(crate) extra_authorities: Vec<Certificate>,
}

impl Publication {
    /// The whole lifetime of its leaf.
    fn life(&self) -> Duration {
        let leaf = self.material.leaf();
        leaf.not_after().duration_since(leaf.not_before()).unwrap_or_default()
    }
}

/// What consumers wait for that come after others.
#[derive(Clone)]
pub(crate) struct Proofs {
    /// The set that each PostgreSQL is proven to serve.
    pub(crate) postgres: watch::Receiver<Option<u64>>,
    /// The set that each PostgreSQL and PgBouncer is proven to serve.
    pub(crate) servers: watch::Receiver<Option<u64>>,
    /// The set that was handed over to those who reload the instances of a `[[served]]`: that each Kubernetes Secret was last seen to
    /// hold, or, without Secrets, that is published. `None` before that.
    pub(crate) handed_over: watch::Receiver<Option<HandOver>>,
}

#[cfg(test)]
pub(crate) mod fake;
