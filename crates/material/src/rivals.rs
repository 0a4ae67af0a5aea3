//! Foreign authorities that OpenSSL could mistake for certificates of ours, or for each other.
//!
//! OpenSSL looks for the issuer of a certificate by name and key identifier, first among the authorities and only then in
//! what a peer sends. It uses the first that matches, and verifies no signature before the path is complete (OpenSSL:
//! `x509_vfy.c`, `build_chain`; `v3_purp.c`, `ossl_x509_likely_issued`). If it finds a foreign one in the place of ours,
//! every client and server of ours is refused. The same key does not help: a certificate of our key that has expired, or that
//! another authority signed, leads nowhere.
//!
//! Others choose how many there are, so nothing here compares each with each. Certificates of the same name and key
//! identifier are found in one step. A proof is made once for each certificate, within a budget. What is not proven within it
//! counts as not proven.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::certificate::{Certificate, Fingerprint};
use super::name::Comparable;
use super::openssl::{Effort, Facts, Signatures};

/// What the proofs of one trust domain may cost, in nanoseconds, so that none uses up the budget of the others: about ten
/// proofs of P-384.
const MOST_OF_ONE: usize = 5_000_000;
/// What the proofs of all trust domains may cost together.
const MOST_OF_ALL: usize = 100_000_000;
/// Most published roots of one name and key identifier that another one is compared with. If there are more, it is not added.
const MOST_RENEWALS: usize = 4;

/// The budget for the proofs of one trust domain.
pub(super) fn proofs_of_one() -> Signatures {
    Signatures::within(Effort::of(MOST_OF_ONE))
}

/// The names of our own authorities and intermediates.
#[derive(Clone, Default)]
pub(super) struct Names(HashMap<Comparable, Name>);

/// The certificates of one name.
#[derive(Clone, Default)]
struct Name {
    own: HashSet<Fingerprint>,
    /// The key identifiers by which a foreign authority of this name would be mistaken for ours: our own, and those that
    /// certificates issued by ours name.
    identifiers: HashSet<Vec<u8>>,
    /// Whether one has no key identifier, so that only the name decides.
    is_bare: bool,
}

impl Name {
    fn add(&mut self, identifier: Option<&[u8]>) {
        match identifier {
            Some(identifier) => {
                self.identifiers.insert(identifier.to_vec());
            }
            None => self.is_bare = true,
        }
    }
}

impl Names {
    /// The names of a leaf, and of the certificates above it.
    pub(super) fn of<'a>(
        leaf: &'a Certificate,
        above: impl Iterator<Item = &'a Certificate> + Clone,
    ) -> Self {
        let mut names = Self::default();
        let above: Vec<Facts<'_>> = above.filter_map(|own| Facts::of(own).ok()).collect();
        for own in &above {
            let of_name = names.0.entry(own.subject).or_default();
            of_name.own.insert(own.fingerprint());
            of_name.add(own.identifier);
        }
        for issued in Facts::of(leaf).iter().chain(&above).filter(|found| !found.is_self_issued()) {
            if let Some(issuer) = names.0.get_mut(&issued.issuer) {
                issuer.add(issued.authority.key);
            }
        }
        names
    }

    /// Whether OpenSSL could mistake a foreign certificate for one of them.
    pub(super) fn are_claimed_by(&self, foreign: &Certificate) -> bool {
        let Ok(foreign) = Facts::of(foreign) else { return true };
        let Some(name) = self.0.get(&foreign.subject) else { return false };
        if name.own.contains(&foreign.fingerprint()) {
            return false;
        }
        let Some(identifier) = foreign.identifier else { return true };
        name.is_bare || name.identifiers.contains(identifier)
    }
}

/// The fingerprints of the authorities that OpenSSL could mistake for another one of them. One that proves its key and its
/// key identifier stays before one that does not. Two that prove the same key both stay. Otherwise the first stays.
#[must_use]
pub fn in_each_others_way<'a>(
    authorities: impl IntoIterator<Item = &'a Certificate>,
) -> HashSet<Fingerprint> {
    let ConflictingAuthorities { rivals, unproven } =
        domains_in_each_others_way([authorities.into_iter().collect()]);
    rivals.into_iter().chain(unproven).collect()
}

/// Why an authority cannot be published beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// OpenSSL could mistake it for an authority or an intermediate of our trust domain.
    Ours,
    /// OpenSSL could mistake it for an authority of another trust domain.
    Federated,
    /// Whether OpenSSL could do that is unknown: more authorities have one name than the budget allows to examine.
    Unproven,
}

/// Authorities that are not to be published beside those that stay.
#[derive(Debug, Default)]
pub struct ConflictingAuthorities {
    /// Those that OpenSSL could take for another one.
    pub rivals: HashSet<Fingerprint>,
    /// Those for which that is unknown: their keys could not be proven, because more have one name than the budget allows.
    pub unproven: HashSet<Fingerprint>,
}

/// The same for the authorities of several trust domains. No domain can use up the budget for the proofs of another.
#[must_use]
pub fn domains_in_each_others_way<'a>(
    domains: impl IntoIterator<Item = Vec<&'a Certificate>>,
) -> ConflictingAuthorities {
    let mut seen = HashSet::new();
    let mut names: HashMap<Comparable, Vec<(usize, Facts<'_>)>> = HashMap::new();
    let mut domains_seen = 0;
    for (domain, authorities) in domains.into_iter().enumerate() {
        domains_seen = domain + 1;
        for found in authorities.into_iter().filter_map(|found| Facts::of(found).ok()) {
            if seen.insert(found.fingerprint()) {
                names.entry(found.subject).or_default().push((domain, found));
            }
        }
    }
    let proofs = Proofs::of(domains_seen);
    let mut losers = ConflictingAuthorities::default();
    for of_name in names.into_values().filter(|of_name| of_name.len() > 1) {
        let mut of_name: Vec<(Proof, Facts<'_>)> = of_name
            .into_iter()
            .map(|(domain, found)| (proofs.of_key(domain, &found), found))
            .collect();
        of_name.sort_by_key(|(proof, _)| *proof != Proof::Given);
        let mut kept = Kept::default();
        for (proof, found) in &of_name {
            if !kept.add(found, *proof == Proof::Given) {
                let all = match proof {
                    Proof::Given | Proof::Missing => &mut losers.rivals,
                    Proof::Untried => &mut losers.unproven,
                };
                all.insert(found.fingerprint());
            }
        }
    }
    losers
}

/// Whether a certificate proves that it belongs to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Given,
    Missing,
    /// The proof would have cost more than the budget.
    Untried,
}

/// Proofs of keys, and what is left of each trust domain's budget.
struct Proofs {
    of_one: Vec<Signatures>,
    all: Effort,
}

impl Proofs {
    fn of(domains: usize) -> Self {
        let of_one = std::iter::repeat_with(proofs_of_one).take(domains);
        Self { of_one: of_one.collect(), all: Effort::of(MOST_OF_ALL) }
    }

    fn of_key(&self, domain: usize, found: &Facts<'_>) -> Proof {
        let Some(signatures) = self.of_one.get(domain).filter(|_| self.all.left() > 0) else {
            return Proof::Untried;
        };
        let before = signatures.effort.left();
        let proven = found.proves_its_key(signatures);
        let left = signatures.effort.left();
        self.all.spend(before - left);
        match proven {
            true => Proof::Given,
            // A proof that costs more than is left sets the budget to 0.
            false if left == 0 => Proof::Untried,
            false => Proof::Missing,
        }
    }
}

/// Certificates of one name, none of which OpenSSL could mistake for another.
#[derive(Default)]
struct Kept<'a> {
    is_bare: bool,
    /// By key identifier: the key, and whether all of them prove it. Two roots of one key, as after a renewal, can replace
    /// each other.
    identifiers: HashMap<&'a [u8], (Fingerprint, bool)>,
}

impl<'a> Kept<'a> {
    /// `false` if OpenSSL could mistake it for one that is there.
    fn add(&mut self, found: &Facts<'a>, proven: bool) -> bool {
        let Some(identifier) = found.identifier else {
            let is_alone = !self.is_bare && self.identifiers.is_empty();
            self.is_bare |= is_alone;
            return is_alone;
        };
        if self.is_bare {
            return false;
        }
        match self.identifiers.entry(identifier) {
            Entry::Vacant(place) => {
                place.insert((found.key_digest, proven));
                true
            }
            Entry::Occupied(first) => *first.get() == (found.key_digest, true) && proven,
        }
    }
}

/// The published authorities of other trust domains, by name, each with its position.
#[derive(Clone, Default)]
pub(super) struct ForeignAuthoritiesByName(HashMap<Comparable, Foreign>);

/// Those of one name.
#[derive(Clone, Default)]
struct Foreign {
    bare: Vec<usize>,
    identifiers: HashMap<Vec<u8>, Vec<usize>>,
}

impl Foreign {
    fn all(&self) -> impl Iterator<Item = usize> {
        self.bare.iter().chain(self.identifiers.values().flatten()).copied()
    }
}

impl ForeignAuthoritiesByName {
    pub(super) fn add(&mut self, at: usize, found: &Certificate) {
        let Ok(found) = Facts::of(found) else { return };
        let of_name = self.0.entry(found.subject).or_default();
        match found.identifier {
            None => of_name.bare.push(at),
            Some(identifier) => {
                of_name.identifiers.entry(identifier.to_vec()).or_default().push(at);
            }
        }
    }

    /// Why this certificate cannot be published beside those of the index; `None` if OpenSSL can tell them apart.
    pub(super) fn obstacle_to(
        &self,
        foreign: &Certificate,
        certificates: &[Certificate],
        signatures: &Signatures,
    ) -> Option<Obstacle> {
        let Ok(foreign) = Facts::of(foreign) else { return Some(Obstacle::Federated) };
        let of_name = self.0.get(&foreign.subject)?;
        let is_other = |at: &usize| {
            certificates.get(*at).is_some_and(|found| found.fingerprint() != foreign.fingerprint())
        };
        let Some(identifier) = foreign.identifier else {
            return of_name.all().any(|at| is_other(&at)).then_some(Obstacle::Federated);
        };
        if of_name.bare.iter().any(is_other) {
            return Some(Obstacle::Federated);
        }
        let same = of_name.identifiers.get(identifier).map_or(&[][..], Vec::as_slice);
        let mut others = same.iter().filter(|at| is_other(at));
        for at in others.by_ref().take(MOST_RENEWALS) {
            let found = certificates.get(*at).and_then(|found| Facts::of(found).ok());
            let stands_for_it = found.as_ref().is_some_and(|found| {
                found.key_digest == foreign.key_digest
                    && found.proves_its_key(signatures)
                    && foreign.proves_its_key(signatures)
            });
            if !stands_for_it {
                let same_key =
                    found.as_ref().is_some_and(|found| found.key_digest == foreign.key_digest);
                let is_unknown = same_key && signatures.effort.left() == 0;
                return Some(if is_unknown { Obstacle::Unproven } else { Obstacle::Federated });
            }
        }
        others.next().is_some().then_some(Obstacle::Unproven)
    }
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, KeyIdentifier};

    use super::*;

    /// A copy of an authority's name and key identifier, with others of that name before it.
    #[test]
    fn f57_what_could_not_be_proven_is_distinguished_from_what_could_be_taken_for_another() {
        let genuine = Authority::new("other.org", false).unwrap();
        let twin = |identifier| genuine.twin(identifier).unwrap();
        let copy = twin(KeyIdentifier::Copied);
        let parsed = |authority: &Authority| Certificate::parse(authority.root()).unwrap();
        let pair = [parsed(&genuine), parsed(&copy)];
        let found = domains_in_each_others_way([pair.iter().collect()]);
        assert!(found.unproven.is_empty() && found.rivals.contains(&pair[1].fingerprint()));
        // More of one name than there is effort for.
        let many: Vec<Certificate> =
            (0..60).map(|_| parsed(&twin(KeyIdentifier::OfItsKey))).collect();
        let found = domains_in_each_others_way([many.iter().chain(&pair).collect()]);
        assert!(found.rivals.is_empty(), "nothing is known of them");
        assert!(found.unproven.contains(&pair[1].fingerprint()));
        // Another domain is not affected.
        let found = domains_in_each_others_way([many.iter().collect(), pair.iter().collect()]);
        assert!(found.unproven.is_empty() && found.rivals.contains(&pair[1].fingerprint()));
    }

    /// Renewals of one root come in several trust domains' bundles: their keys are proven once more, within a limit.
    #[test]
    fn f60_a_root_whose_key_could_not_be_proven_is_distinguished_from_one_with_another_key() {
        let genuine = Authority::new("other.org", false).unwrap();
        let renewed = |_| genuine.vouch_for(&genuine, genuine.not_after()).unwrap();
        let renewals: Vec<Certificate> =
            (0..6).map(renewed).map(|der| Certificate::parse(&der).unwrap()).collect();
        let copy = genuine.twin(KeyIdentifier::Copied).unwrap();
        let copy = Certificate::parse(copy.root()).unwrap();
        let (last, published) = renewals.split_last().unwrap();
        let none_left = || Signatures::within(Effort::of(1));
        for (count, of_renewal, without_effort) in [
            (0, None, None),
            (1, None, Some(Obstacle::Unproven)),
            (MOST_RENEWALS, None, Some(Obstacle::Unproven)),
            (MOST_RENEWALS + 1, Some(Obstacle::Unproven), Some(Obstacle::Unproven)),
        ] {
            let published = &published[..count];
            let mut index = ForeignAuthoritiesByName::default();
            for (at, found) in published.iter().enumerate() {
                index.add(at, found);
            }
            let effort = || Signatures::within(Effort::of(MOST_OF_ALL));
            assert_eq!(index.obstacle_to(last, published, &effort()), of_renewal, "{count}");
            assert_eq!(index.obstacle_to(last, published, &none_left()), without_effort, "{count}");
            // A different key is found without a proof, even if no budget is left.
            let of_copy = (count > 0).then_some(Obstacle::Federated);
            assert_eq!(index.obstacle_to(&copy, published, &effort()), of_copy, "{count}");
            assert_eq!(index.obstacle_to(&copy, published, &none_left()), of_copy, "{count}");
        }
    }
}
