//! The search for the certificates between a leaf and a root: those whose keys signed each other.
//!
//! OpenSSL does not search: it uses the first issuer that matches, and fails if that one does not lead to a root. This search
//! follows each certificate to every issuer whose signature it has, and counts its work. It returns a few paths, one of which
//! can be arranged so that OpenSSL finds it.

use std::cmp::Reverse;
use std::time::SystemTime;

use super::openssl::{Facts, Signature, Signatures};
use super::validity::is_valid;

/// Most intermediates in a path.
const DEEPEST: usize = 8;
/// Most paths that are returned. They differ in what OpenSSL checks: dates, constraints, usages.
const MOST_PATHS: usize = 8;
/// Most steps of the search. A bundle whose authorities were replaced one after the other takes about ten.
const MOST_STEPS: usize = 256;

/// Paths from the leaf to a root that is valid at `now`, each including both. The path that is valid for longest comes first.
pub(super) fn paths<'s, 'a>(
    leaf: &'s Facts<'a>,
    sent: &[&'s Facts<'a>],
    trusted: &[&'s Facts<'a>],
    signatures: &Signatures,
    now: SystemTime,
) -> Vec<Vec<&'s Facts<'a>>> {
    // Of two that differ only in their dates, use the one that is valid, and for longest.
    let rank = |found: &&Facts<'_>| (!is_valid(found.certificate, now), Reverse(found.not_after()));
    let mut trusted: Vec<&Facts<'a>> = trusted.to_vec();
    trusted.sort_by_key(rank);
    // OpenSSL may also find an intermediate among the authorities, so those are searched, too.
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
    /// How many steps are left.
    steps: usize,
    found: Vec<Vec<&'s Facts<'a>>>,
}

impl<'s, 'a> Search<'s, 'a, '_> {
    /// Continues from the last certificate of a path that begins with the leaf.
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
                known.subject == next.subject && known.key_digest == next.key_digest
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

    fn is_signed(&self, subject: &Facts<'a>, issuer: &Facts<'a>) -> bool {
        subject.is_likely_issued_by(issuer)
            && self.signatures.of(subject, issuer) == Signature::Right
    }
}
