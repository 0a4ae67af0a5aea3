//! One immutable generation of an X.509 identity, checked before anything is done with it.
//!
//! A [`Material`] is built once, from one [`Offer`], and never assembled from two. Whatever comes from
//! outside (a Workload API message, or the files of an earlier run) passes the same checks.

mod arrangement;
mod blocks;
mod certificate;
mod checks;
mod details;
mod encoding;
mod identity;
mod issuers;
mod key;
mod name;
mod openssl;
mod path;
pub mod pem;
pub mod reading;
mod rivals;
mod validity;
mod warning;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::SystemTime;

use zeroize::Zeroizing;

pub use certificate::{Certificate, Fingerprint, MalformedCertificate, Serial, certificates};
pub use checks::{
    LARGEST_BUNDLE, MOST_EXTRA_NAMES, MOST_NAMES, NoRoom, Rejection, leaf_rules, size_of_names,
    validity,
};
pub use details::{Details, key_kind};
pub use encoding::{Flaw, Unloadable};
pub use identity::{InvalidIdentity, SpiffeId, TrustDomain, unique_identifier, workload_id};
pub use key::{PrivateKey, UnusableKey};
pub use name::for_people as name_for_people;
pub use openssl::{Fault, Refusal, Which};
pub use path::{Sound, Usage, verify as verify_path};
pub use rivals::in_each_others_way;
pub use validity::CLOCK_SKEW;
pub use warning::Warning;

/// What somebody offers as an identity: raw bytes, nothing believed yet.
pub struct Offer {
    /// The SPIFFE ID that the message names; `None` takes the one in the leaf (files of an earlier run).
    pub spiffe_id: Option<String>,
    /// The operator's hint for choosing among several SVIDs; empty if there is none.
    pub hint: String,
    /// Concatenated DER certificates: the leaf, then its intermediates.
    pub chain: Vec<u8>,
    /// PKCS#8 DER private key, unencrypted.
    pub key: Zeroizing<Vec<u8>>,
    /// Concatenated DER certificates of the trust domain's authorities.
    pub bundle: Vec<u8>,
}

/// What the configuration demands of an identity.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The one SPIFFE ID to take.
    pub spiffe_id: Option<SpiffeId>,
    /// The trust domain that the SPIFFE ID must belong to.
    pub trust_domain: Option<TrustDomain>,
    /// Whether authorities of federated trust domains may be beside it.
    pub federated: bool,
}

/// One checked generation: leaf, intermediates, key and authorities that belong together.
#[derive(Clone)]
pub struct Material {
    spiffe_id: SpiffeId,
    hint: Option<String>,
    leaf: Certificate,
    intermediates: Vec<Certificate>,
    key: PrivateKey,
    authorities: Vec<Certificate>,
    federated: Vec<Certificate>,
    /// Made when foreign authorities are compared with them.
    names: OnceLock<rivals::Names>,
    /// The same of those of other trust domains.
    federated_names: OnceLock<rivals::Index>,
    /// Each with its place among those that were offered.
    left_out: Vec<(usize, Certificate)>,
    is_unchecked: bool,
    not_after: SystemTime,
}

impl Material {
    /// Checks an offer as X509-SVID sections 4 and 5 and PostgreSQL's needs demand.
    ///
    /// `now` is the wall-clock time that validity is judged by. The first check that fails is the
    /// rejection; nothing of a rejected offer is kept.
    pub fn check(
        offer: Offer,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Self, Rejection> {
        checks::check(offer, expectations, now)
    }

    /// Adds the authorities of another trust domain, unless a handshake has no room for them beside those that are there.
    /// Returns those that were left out, since they would get in the way of our own: see [`Self::is_obstructed_by`].
    pub fn federate(&mut self, authorities: Vec<Certificate>) -> Result<Vec<Certificate>, NoRoom> {
        checks::federate(self, authorities)
    }

    /// Whether OpenSSL could take a foreign authority, where it is published, for an authority or an intermediate of ours, or for
    /// an authority of a federated trust domain: it has its name, and no key identifier tells them apart. Certificates of
    /// that one would not be accepted any more.
    #[must_use]
    pub fn is_obstructed_by(&self, foreign: &Certificate) -> bool {
        let names =
            || rivals::Names::of(&self.leaf, self.intermediates.iter().chain(&self.authorities));
        let index = || rivals::Index::of(&self.federated);
        self.names.get_or_init(names).are_claimed_by(foreign)
            || self.federated_names.get_or_init(index).has_rival_of(foreign, &self.federated)
    }

    /// The workload's SPIFFE ID, as the leaf carries it.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The hint that came with the SVID.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The leaf certificate: the SVID itself.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The leaf, then its intermediates, in the order in which TLS sends them.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.intermediates)
    }

    /// The private key of the leaf.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The authorities to trust: the trust domain's own, then those of federated domains if asked for.
    pub fn authorities(&self) -> impl Iterator<Item = &Certificate> {
        self.authorities.iter().chain(&self.federated)
    }

    /// Those of the trust domain itself.
    #[must_use]
    pub fn own_authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Says of a set that was read back which of its authorities are still to be trusted: the first `own` are the trust
    /// domain's, and the next `federated` those of others.
    pub fn keep_authorities(&mut self, own: usize, federated: usize) {
        // The numbers are of the set as it was read.
        let kept = |of: Range<usize>| {
            of.len() - self.left_out.iter().filter(|(place, _)| of.contains(place)).count()
        };
        let (own_kept, federated_kept) = (kept(0..own), kept(own..own + federated));
        self.left_out.retain(|(place, _)| *place < own);
        let mut others = self.authorities.split_off(own_kept.min(self.authorities.len()));
        others.truncate(federated_kept);
        self.federated = others;
        self.names = OnceLock::new();
        self.federated_names = OnceLock::new();
        let federated = std::mem::take(&mut self.federated);
        let federated = federated.into_iter().filter(|found| !self.is_obstructed_by(found));
        self.federated = federated.collect();
        self.federated_names = OnceLock::new();
    }

    /// Those of the trust domain's authorities that are not published: OpenSSL would take each for another one of its name, and
    /// refuse the leaf.
    pub fn left_out(&self) -> impl Iterator<Item = &Certificate> {
        self.left_out.iter().map(|(_, found)| found)
    }

    /// When the leaf expires, or an intermediate that it needs, whichever comes first. Of several paths upwards the one that
    /// is valid for longest counts: who builds a path passes over what has expired, where there is something else.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether the leaf, or an intermediate that it needs, has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after() <= now
    }

    /// Whether both would be published as the same bytes.
    #[must_use]
    pub fn publishes_as(&self, other: &Self) -> bool {
        self.chain().eq(other.chain()) && self.authorities().eq(other.authorities())
    }

    /// What is acceptable now, but will hurt somebody later.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        warning::warnings(self)
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("spiffe_id", &self.spiffe_id.to_string())
            .field("leaf", &self.leaf)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
