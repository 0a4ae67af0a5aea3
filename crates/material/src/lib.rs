//! One immutable generation of an X.509 identity, checked before anything is done with it.
//!
//! A [`Material`] is built once, from one [`Offer`], and never assembled from two. Everything from outside (a Workload API
//! message, or the files of an earlier run) passes the same checks.

mod allowed_uses;
mod arrangement;
mod blocks;
mod certificate;
mod checks;
mod details;
mod encoding;
mod federation;
mod host;
mod identity;
pub mod in_place;
mod issuers;
mod key;
mod name;
mod named;
mod names;
mod openssl;
mod path;
pub mod pem;
pub mod pkcs12;
pub mod reading;
mod rivals;
mod validity;
mod warning;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::SystemTime;

use zeroize::Zeroizing;

pub use allowed_uses::{AllowedUses, ForbiddenBy, Users};
pub use certificate::{Certificate, Fingerprint, MalformedCertificate, Serial, certificates};
pub use checks::{
    LARGEST_BUNDLE, LARGEST_CHAIN, MOST_EXTRA_NAMES, MOST_NAMES, NoRoom, Rejection, leaf_rules,
    size_of_names, validity,
};
pub use details::{Details, key_kind};
pub use encoding::{DerError, Unloadable};
pub use host::names_host;
pub use identity::{InvalidIdentity, SpiffeId, TrustDomain, unique_identifier, workload_id};
pub use key::{PrivateKey, UnusableKey};
pub use name::for_people as name_for_people;
pub use named::LeafName;
pub use names::{Changed, Names};
pub use openssl::{Fault, Refusal, Which};
pub use path::{Accepted, Usage, verify as verify_path};
pub use rivals::{
    ConflictingAuthorities, Obstacle, domains_in_each_others_way, in_each_others_way,
};
pub use validity::CLOCK_SKEW;
pub use warning::Warning;

/// An offered identity: raw bytes, nothing verified yet.
pub struct Offer {
    /// The SPIFFE ID in the message; `None` uses the one in the leaf (files of an earlier run).
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

/// The rules that an identity must meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// The rules of an X509-SVID: exactly one SPIFFE ID, no CA, key usage as in the specification.
    #[default]
    Spiffe,
    /// The rules of any certificate: a leaf that OpenSSL accepts with its bundle.
    X509,
}

/// What the configuration requires of an identity.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The rules that it must meet.
    pub policy: Policy,
    /// The only SPIFFE ID to accept.
    pub spiffe_id: Option<SpiffeId>,
    /// The trust domain that the SPIFFE ID must belong to.
    pub trust_domain: Option<TrustDomain>,
    /// The hint that it must have come with, where that is known. Among the agent's SVIDs the source chooses by it.
    pub hint: Option<String>,
    /// Whether authorities of federated trust domains may be added.
    pub federated: bool,
    /// Who uses it. An SVID that does not allow this use gets a warning; it is not refused.
    pub users: Users,
    /// Host names that the leaf should have. A leaf that lacks some is accepted with a warning: that is better than an
    /// expired one.
    pub dns_names: Vec<String>,
}

/// One checked generation: leaf, intermediates, key and authorities that belong together.
#[derive(Clone)]
pub struct Material {
    policy: Policy,
    name: LeafName,
    hint: Option<String>,
    leaf: Certificate,
    intermediates: Vec<Certificate>,
    key: PrivateKey,
    authorities: Vec<Certificate>,
    federated: Vec<Certificate>,
    /// The names of our own authorities, built when a foreign authority is compared with them for the first time.
    names: OnceLock<rivals::Names>,
    /// The same for the authorities of other trust domains.
    federated_index: rivals::ForeignAuthoritiesByName,
    /// How much of a handshake's room is used.
    room: OnceLock<federation::NameBudget>,
    /// Each with its position among the offered ones.
    left_out: Vec<(usize, Certificate)>,
    not_before: SystemTime,
    not_after: SystemTime,
    allowed_uses: AllowedUses,
    users: Users,
}

impl Material {
    /// Checks an offer by X509-SVID sections 4 and 5, and by what PostgreSQL needs.
    ///
    /// `now` is the wall-clock time that validity is judged by. The first check that fails is the error; nothing of a refused
    /// offer is kept.
    pub fn check(
        offer: Offer,
        expectations: &Expectations,
        now: SystemTime,
    ) -> Result<Self, Rejection> {
        checks::check(offer, expectations, now)
    }

    /// Adds the authorities of another trust domain. Fails if a handshake has no room for all of them. Returns those that
    /// were left out, each with the reason: see [`Self::obstacle_to`].
    pub fn federate(
        &mut self,
        authorities: Vec<Certificate>,
    ) -> Result<Vec<(Certificate, Obstacle)>, NoRoom> {
        federation::federate(self, authorities)
    }

    /// Whether OpenSSL could mistake a foreign authority, if it were published, for an authority or intermediate of ours, or
    /// for an authority of a federated trust domain: both have the same name, and no key identifier tells them apart.
    /// Certificates of the hidden authority would be refused.
    #[must_use]
    pub fn is_obstructed_by(&self, foreign: &Certificate) -> bool {
        self.obstacle_to(foreign).is_some()
    }

    /// Why a foreign authority cannot be published beside ours and those of federated trust domains; `None` if it can.
    #[must_use]
    pub fn obstacle_to(&self, foreign: &Certificate) -> Option<Obstacle> {
        federation::obstacle_to(self, foreign, &rivals::proofs_of_one())
    }

    /// The rules by which it was checked.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What the leaf is called: its SPIFFE ID, or else its other names.
    #[must_use]
    pub fn name(&self) -> &LeafName {
        &self.name
    }

    /// The workload's SPIFFE ID, as the leaf carries it; without [`Policy::X509`] there always is one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.name.spiffe_id()
    }

    /// The leaf's DNS names or subject, for people, if it has no SPIFFE ID.
    #[must_use]
    pub fn other_names(&self) -> Option<String> {
        self.spiffe_id().is_none().then(|| self.name.to_string())
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

    /// The authorities to trust: the trust domain's own, then those of federated domains if configured.
    pub fn authorities(&self) -> impl Iterator<Item = &Certificate> {
        self.authorities.iter().chain(&self.federated)
    }

    /// The authorities of the trust domain itself.
    #[must_use]
    pub fn own_authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Sets which authorities of a set that was read back are still trusted: the first `own` are the trust domain's, and the
    /// next `federated` those of others.
    pub fn keep_authorities(&mut self, own: usize, federated: usize) {
        // The numbers refer to the set as it was read.
        let kept = |of: Range<usize>| {
            of.len() - self.left_out.iter().filter(|(place, _)| of.contains(place)).count()
        };
        let (own_kept, federated_kept) = (kept(0..own), kept(own..own + federated));
        self.left_out.retain(|(place, _)| *place < own);
        let mut others = self.authorities.split_off(own_kept.min(self.authorities.len()));
        others.truncate(federated_kept);
        self.names = OnceLock::new();
        self.room = OnceLock::new();
        self.federated.clear();
        self.federated_index = rivals::ForeignAuthoritiesByName::default();
        others.retain(|found| !self.is_obstructed_by(found));
        for (at, found) in others.iter().enumerate() {
            self.federated_index.add(at, found);
        }
        self.federated = others;
    }

    /// The trust domain's authorities that are not published: OpenSSL would mistake each for another one of its name, and
    /// refuse the leaf.
    pub fn left_out(&self) -> impl Iterator<Item = &Certificate> {
        self.left_out.iter().map(|(_, found)| found)
    }

    /// When the leaf, and everything that it needs, becomes valid. OpenSSL allows no clock difference.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the first of the certificates that the leaf needs expires: the leaf itself, its intermediates, or the root. A
    /// certificate does not count if OpenSSL finds another one in its place then.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether the leaf, or an intermediate that it needs, has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after() <= now
    }

    /// The uses that the leaf does not allow.
    #[must_use]
    pub fn allowed_uses(&self) -> AllowedUses {
        self.allowed_uses
    }

    /// Whether both would be published as the same bytes.
    #[must_use]
    pub fn publishes_as(&self, other: &Self) -> bool {
        self.chain().eq(other.chain()) && self.authorities().eq(other.authorities())
    }

    /// SHA-256 of all that readers find of this set and of these extra authorities, except the key, which belongs to the leaf.
    #[must_use]
    pub fn fingerprint(&self, extra_authorities: &[Certificate]) -> Fingerprint {
        let authorities = self.authorities().chain(extra_authorities);
        let chain = self.chain().flat_map(|found| *found.fingerprint().bytes());
        // The number separates the chain from the authorities.
        let length = self.chain().count().to_be_bytes();
        let all = length.into_iter().chain(chain);
        let bytes: Vec<u8> =
            all.chain(authorities.flat_map(|found| *found.fingerprint().bytes())).collect();
        Fingerprint::of(&bytes)
    }

    /// What is acceptable now, but will cause trouble later.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        warning::warnings(self)
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("name", &self.name.to_string())
            .field("leaf", &self.leaf)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
