//! The search for the certificates between a leaf and a root: those whose keys have signed each other.
//!
//! OpenSSL does not search: it takes the first issuer that fits, and fails where that one does not lead to a root. Here each
//! certificate is followed where its signature leads, and all that is done is counted. What is found are a few paths, of which one
//! can be put in OpenSSL's way.

use std::cmp::Reverse;
use std::time::SystemTime;

use super::openssl::{Facts, Signature, Signatures};
use super::validity::is_valid;

/// Most intermediates in a path.
const DEEPEST: usize = 8;
/// Most paths that are found. Several differ in what OpenSSL looks at: dates, constraints, usages.
const MOST_PATHS: usize = 8;
/// Most steps of the search. A bundle whose authorities were replaced one after the other has some ten.
const MOST_STEPS: usize = 256;

/// Paths from the leaf to a root that is valid at `now`, each with both of them; those that end last come first.
pub(super) fn paths<'s, 'a>(
    leaf: &'s Facts<'a>,
    sent: &[&'s Facts<'a>],
    trusted: &[&'s Facts<'a>],
    signatures: &Signatures,
    now: SystemTime,
) -> Vec<Vec<&'s Facts<'a>>> {
    // Of two that differ in nothing but their dates, the one that is valid, and for longest.
    let rank = |found: &&Facts<'_>| (!is_valid(found.certificate, now), Reverse(found.not_after()));
    let mut trusted: Vec<&Facts<'a>> = trusted.to_vec();
    trusted.sort_by_key(rank);
    // OpenSSL may also find an intermediate among the authorities, so one that is there counts.
    let mut certificates: Vec<&Facts<'a>> = sent.iter().chain(&trusted).copied().collect();
    certificates.sort_by_key(rank);
    let mut search =
        Search { certificates, trusted, signatures, now, steps: MOST_STEPS, found: Vec::new() };
    search.from(&mut vec![leaf]);
    let mut found = search.found;
    let end = |path: &Vec<&Facts<'_>>| path.iter().map(|found| found.not_after()).min();
    found.sort_by_key(|path| Reverse(end(path)));
    found
}

struct Search<'s, 'a, 'k> {
    certificates: Vec<&'s Facts<'a>>,
    trusted: Vec<&'s Facts<'a>>,
    signatures: &'k Signatures,
    now: SystemTime,
    /// How many more there may be.
    steps: usize,
    found: Vec<Vec<&'s Facts<'a>>>,
}

impl<'s, 'a> Search<'s, 'a, '_> {
    /// Goes on from the last certificate of a path that begins with the leaf.
    fn from(&mut self, path: &mut Vec<&'s Facts<'a>>) {
        let Some(steps) = self.steps.checked_sub(1) else { return };
        self.steps = steps;
        let Some(last) = path.last().copied() else { return };
        for at in 0..self.trusted.len() {
            let root = self.trusted[at];
            if self.found.len() == MOST_PATHS {
                return;
            }
            let valid = root.self_signed && is_valid(root.certificate, self.now);
            if valid && self.is_signed(last, root) {
                self.found.push(path.iter().copied().chain([root]).collect());
            }
        }
        if path.len() > DEEPEST {
            return;
        }
        for at in 0..self.certificates.len() {
            let next = self.certificates[at];
            let known = |known: &&Facts<'_>| {
                known.subject == next.subject
                    && known.certificate.public_key() == next.certificate.public_key()
            };
            if next.self_signed || path.iter().any(known) || !self.is_signed(last, next) {
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

    /// What cannot be verified here may lead to a root as well.
    fn is_signed(&self, subject: &Facts<'a>, issuer: &Facts<'a>) -> bool {
        subject.is_likely_issued_by(issuer)
            && matches!(
                self.signatures.of(subject, issuer),
                Signature::Right | Signature::Unchecked
            )
    }
}
