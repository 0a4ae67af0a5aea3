//! The search for the certificates between a leaf and a root: those whose keys have signed each other.
//!
//! webpki looks for a path by names alone, parses each certificate anew for each step, and has a budget of 200,000 steps:
//! some dozens of certificates, well chosen, keep it busy for minutes. Here each certificate is followed only where its
//! signature leads, and all that is done is counted. What is found is a few lists, each for webpki to judge by itself.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use rustls_pki_types::SignatureVerificationAlgorithm;

use super::certificate::{Certificate, Fingerprint};
use super::encoding;
use super::rivals::{Of, identifier};
use super::validity::is_valid;

/// Most intermediates in a path, which is webpki's limit.
const DEEPEST: usize = 6;
/// Most paths that are judged. Several differ in what webpki looks at: dates, constraints, usages.
const MOST_PATHS: usize = 8;
/// Most steps of the search. A bundle whose authorities were replaced one after the other has some ten.
const MOST_STEPS: usize = 256;
/// Most signatures that are verified; one of P-384 takes a millisecond.
const MOST_SIGNATURES: usize = 128;

/// A root, and the intermediates below it from the leaf upwards.
pub(super) struct Path<'a> {
    pub(super) root: &'a Certificate,
    pub(super) between: Vec<&'a Certificate>,
}

/// Paths from the leaf to a root that is valid at `now`, the best ones first.
pub(super) fn paths<'a>(
    leaf: &'a Certificate,
    intermediates: &'a [Certificate],
    authorities: &'a [Certificate],
    now: SystemTime,
) -> Vec<Path<'a>> {
    let pointed = if authorities.len() > MOST_SIGNATURES {
        pointed_to(std::iter::once(leaf).chain(intermediates), authorities)
    } else {
        HashSet::new()
    };
    // Of two that differ in nothing but their dates, the one that is valid, and for longest.
    let rank = |found: &&Certificate| {
        (!is_valid(found, now), !pointed.contains(&found.fingerprint()), Reverse(found.not_after()))
    };
    let mut authorities: Vec<&Certificate> = authorities.iter().collect();
    authorities.sort_by_key(rank);
    // A verifier may also find an intermediate in its bundle, so one that is there counts.
    let mut certificates: Vec<&Certificate> =
        intermediates.iter().chain(authorities.iter().copied()).collect();
    certificates.sort_by_key(rank);
    let mut search = Search {
        certificates,
        authorities,
        now,
        signed: HashMap::new(),
        steps: MOST_STEPS,
        found: Vec::new(),
    };
    search.from(&mut vec![leaf]);
    search.found
}

/// Those whose key identifiers the chain names: there may be more of one name than can be tried.
fn pointed_to<'a>(
    chain: impl Iterator<Item = &'a Certificate>,
    authorities: &[Certificate],
) -> HashSet<Fingerprint> {
    let named: HashSet<Vec<u8>> =
        chain.filter_map(|found| identifier(found, Of::ItsIssuer)).collect();
    let pointed = authorities
        .iter()
        .filter(|found| identifier(found, Of::Itself).is_some_and(|own| named.contains(&own)));
    pointed.map(Certificate::fingerprint).collect()
}

/// What the names alone connect with the leaf, for words about why there is no path: few, whatever there is.
pub(super) fn named<'a>(
    leaf: &'a Certificate,
    intermediates: &'a [Certificate],
    authorities: &'a [Certificate],
    now: SystemTime,
) -> (Vec<&'a Certificate>, Vec<&'a Certificate>) {
    let (mut between, mut roots) = (Vec::<&Certificate>::new(), Vec::<&Certificate>::new());
    let mut next = Some(leaf);
    let mut looked_at = 0;
    while let Some(issuer) = next.and_then(issuer) {
        let of_name = |found: &&Certificate| found.subject() == issuer;
        let (own, others): (Vec<_>, Vec<_>) = authorities
            .iter()
            .filter(of_name)
            .take(MOST_PATHS)
            .partition(|found| is_valid(found, now) && found.is_self_signed());
        for (more, known) in [
            (own, &mut roots),
            (intermediates.iter().filter(of_name).chain(others).collect(), &mut between),
        ] {
            for found in more {
                if known.len() < DEEPEST && !known.contains(&found) {
                    known.push(found);
                }
            }
        }
        next = between.get(looked_at).copied();
        looked_at += 1;
    }
    (between, roots)
}

struct Search<'a> {
    certificates: Vec<&'a Certificate>,
    authorities: Vec<&'a Certificate>,
    now: SystemTime,
    /// Whether the first one is signed by the key of the second one.
    signed: HashMap<(Fingerprint, Fingerprint), bool>,
    /// How many more there may be.
    steps: usize,
    found: Vec<Path<'a>>,
}

impl<'a> Search<'a> {
    /// Goes on from the last certificate of a path that begins with the leaf.
    fn from(&mut self, path: &mut Vec<&'a Certificate>) {
        let Some(steps) = self.steps.checked_sub(1) else { return };
        self.steps = steps;
        let Some(last) = path.last().copied() else { return };
        let Some(issuer) = issuer(last) else { return };
        for at in 0..self.authorities.len() {
            let root = self.authorities[at];
            if root.subject() != issuer {
                continue;
            }
            if self.found.len() == MOST_PATHS {
                return;
            }
            // In this order: what the last one asks is counted.
            if is_valid(root, self.now) && self.is_signed(last, root) && root.is_self_signed() {
                self.found.push(Path { root, between: path[1..].to_vec() });
            }
        }
        if path.len() > DEEPEST {
            return;
        }
        for at in 0..self.certificates.len() {
            let next = self.certificates[at];
            let known = |known: &&Certificate| {
                known.subject() == next.subject() && known.public_key() == next.public_key()
            };
            if next.subject() != issuer || path.iter().any(known) || !self.is_signed(last, next) {
                continue;
            }
            path.push(next);
            self.from(path);
            path.pop();
            if self.found.len() == MOST_PATHS {
                return;
            }
        }
    }

    fn is_signed(&mut self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let pair = (certificate.fingerprint(), issuer.fingerprint());
        let full = self.signed.len() >= MOST_SIGNATURES;
        let known = self.signed.get(&pair).copied();
        known.unwrap_or_else(|| {
            let signed = !full && is_signed_by(certificate, issuer);
            if !full {
                self.signed.insert(pair, signed);
            }
            signed
        })
    }
}

/// The issuer's name, in DER.
fn issuer(certificate: &Certificate) -> Option<&[u8]> {
    encoding::signed(certificate.der()).ok().map(|signed| signed.issuer)
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let Ok(signed) = encoding::signed(certificate.der()) else { return false };
    let Ok(key) = encoding::key(issuer.public_key()) else { return false };
    let fits = |known: &&&dyn SignatureVerificationAlgorithm| {
        known.signature_alg_id().as_ref() == signed.algorithm
            && known.public_key_alg_id().as_ref() == key.algorithm
    };
    let verifies = |known: &&dyn SignatureVerificationAlgorithm| {
        known.verify_signature(key.bits, signed.content, signed.signature).is_ok()
    };
    webpki::ALL_VERIFICATION_ALGS.iter().filter(fits).any(verifies)
}
