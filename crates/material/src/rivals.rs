//! Foreign authorities that OpenSSL could take for certificates of ours, or for each other.
//!
//! It looks for the issuer of a certificate by name and key identifier, among the authorities first and only then in what a peer
//! sends. It takes the first that fits, and verifies no signature before the path is whole (OpenSSL: `x509_vfy.c`,
//! `build_chain`; `v3_purp.c`, `ossl_x509_likely_issued`). With a foreign one in the place of ours, no client and no server
//! of ours is accepted any more. The same key is no help: a certificate of our key that another authority has signed, or that has
//! expired, leads nowhere.

use std::collections::{HashMap, HashSet};

use super::certificate::{Certificate, Fingerprint};
use super::name;
use super::openssl::Facts;

/// What is known of the names of our own authorities and intermediates.
#[derive(Clone, Default)]
pub(super) struct Names(HashMap<Vec<u8>, Name>);

/// The certificates of one name.
#[derive(Clone, Default)]
struct Name {
    own: Vec<Fingerprint>,
    /// The key identifiers that tell another authority of this name from ours: of our own, and what they have issued names.
    /// `None` stands for a certificate that has none, and for which the name alone decides.
    identifiers: Vec<Option<Vec<u8>>>,
}

impl Names {
    /// Those of a leaf, and of the certificates above it.
    pub(super) fn of<'a>(
        leaf: &'a Certificate,
        above: impl Iterator<Item = &'a Certificate> + Clone,
    ) -> Self {
        let owned = |identifier: Option<&[u8]>| identifier.map(<[u8]>::to_vec);
        let mut names = Self::default();
        let above: Vec<Facts<'_>> = above.filter_map(|own| Facts::of(own).ok()).collect();
        for own in &above {
            let of_name = names.0.entry(own.subject.clone()).or_default();
            of_name.own.push(own.fingerprint());
            of_name.identifiers.push(owned(own.identifier));
        }
        for issued in Facts::of(leaf).iter().chain(&above).filter(|found| !found.is_self_issued()) {
            if let Some(issuer) = names.0.get_mut(&issued.issuer) {
                issuer.identifiers.push(owned(issued.authority.key));
            }
        }
        names
    }

    /// Whether OpenSSL could take a foreign certificate for one of them.
    pub(super) fn are_claimed_by(&self, foreign: &Certificate) -> bool {
        let Ok(foreign) = Facts::of(foreign) else { return true };
        let Some(name) = self.0.get(&foreign.subject) else { return false };
        if name.own.contains(&foreign.fingerprint()) {
            return false;
        }
        let Some(identifier) = foreign.identifier else { return true };
        name.identifiers.iter().any(|own| own.as_ref().is_none_or(|own| *own == identifier))
    }
}

/// Which of these OpenSSL could take for another one of them. Of two, the one stays that proves its key and its key identifier;
/// where both do, or neither, the first.
#[must_use]
pub fn in_each_others_way<'a>(
    authorities: impl IntoIterator<Item = &'a Certificate>,
) -> HashSet<Fingerprint> {
    let mut names: HashMap<Vec<u8>, Vec<Facts<'_>>> = HashMap::new();
    for found in authorities.into_iter().filter_map(|found| Facts::of(found).ok()) {
        let of_name = names.entry(found.subject.clone()).or_default();
        if !of_name.contains(&found) {
            of_name.push(found);
        }
    }
    let mut losers = HashSet::new();
    for mut of_name in names.into_values().filter(|of_name| of_name.len() > 1) {
        of_name.sort_by_cached_key(|found| !found.proves_its_key());
        let mut kept: Vec<&Facts<'_>> = Vec::new();
        for found in &of_name {
            if kept.iter().any(|other| are_confusable(found, other)) {
                losers.insert(found.fingerprint());
            } else {
                kept.push(found);
            }
        }
    }
    losers
}

/// Of one name already. Two roots of one key, as after a renewal, stand for each other.
fn are_confusable(one: &Facts<'_>, other: &Facts<'_>) -> bool {
    let told_apart =
        matches!((one.identifier, other.identifier), (Some(one), Some(other)) if one != other);
    let same_key = one.certificate.public_key() == other.certificate.public_key();
    !(told_apart || same_key && one.proves_its_key() && other.proves_its_key())
}

/// Where the certificates of each name are.
#[derive(Clone)]
pub(super) struct Index(HashMap<Vec<u8>, Vec<usize>>);

impl Index {
    pub(super) fn of(certificates: &[Certificate]) -> Self {
        let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, found) in certificates.iter().enumerate() {
            places.entry(name::comparable(found.subject())).or_default().push(at);
        }
        Self(places)
    }

    /// Whether one of the certificates, which are those of the index, could be taken for this one.
    pub(super) fn has_rival_of(&self, foreign: &Certificate, certificates: &[Certificate]) -> bool {
        let Ok(foreign) = Facts::of(foreign) else { return true };
        let places = self.0.get(&foreign.subject).into_iter().flatten();
        places.filter_map(|at| Facts::of(certificates.get(*at)?).ok()).any(|found| {
            found.fingerprint() != foreign.fingerprint() && are_confusable(&foreign, &found)
        })
    }
}
