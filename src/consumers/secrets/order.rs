//! The order in which several Secrets are written when the authorities change. Pure.
//!
//! A Secret with authorities alone is for those who check the leaf. It gets a new authority before the first leaf of it appears, and
//! loses an old one after its last leaf has gone.

use std::collections::HashSet;

use crate::material::{Certificate, Fingerprint};

/// Which authorities a Secret gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authorities {
    /// Those of the new set.
    New,
    /// Those of the new set, and those that it no longer has.
    Both,
}

/// The steps: which Secret, and which authorities it gets. `bundles` says for each Secret whether it holds authorities alone;
/// `before` are the authorities that are in such Secrets now.
pub(super) fn steps(
    bundles: &[bool],
    before: &HashSet<Fingerprint>,
    now: &HashSet<Fingerprint>,
) -> Vec<(usize, Authorities)> {
    let all = |bundle: bool, which: Authorities| {
        let found = bundles.iter().enumerate().filter(move |(_, is)| **is == bundle);
        found.map(move |(at, _)| (at, which))
    };
    let new = Authorities::New;
    let added = !now.is_subset(before);
    let removed = !before.is_subset(now);
    match (added, removed) {
        (true, true) if !before.is_empty() => {
            all(true, Authorities::Both).chain(all(false, new)).chain(all(true, new)).collect()
        }
        (true, _) => all(true, new).chain(all(false, new)).collect(),
        (false, true) => all(false, new).chain(all(true, new)).collect(),
        (false, false) => (0..bundles.len()).map(|at| (at, new)).collect(),
    }
}

/// The fingerprints of authorities.
pub(super) fn fingerprints<'a>(
    of: impl IntoIterator<Item = &'a Certificate>,
) -> HashSet<Fingerprint> {
    of.into_iter().map(Certificate::fingerprint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v11_bundles_come_first_if_authorities_are_added_and_last_if_they_are_removed() {
        let set = |names: &[&str]| -> HashSet<Fingerprint> {
            names.iter().map(|name| Fingerprint::of(name.as_bytes())).collect()
        };
        let bundles = [false, true, false];
        let (new, both) = (Authorities::New, Authorities::Both);
        for (before, now, wanted) in [
            (&["a"][..], &["a"][..], vec![(0, new), (1, new), (2, new)]),
            (&["a"], &["a", "b"], vec![(1, new), (0, new), (2, new)]),
            (&["a", "b"], &["b"], vec![(0, new), (2, new), (1, new)]),
            (&["a"], &["b"], vec![(1, both), (0, new), (2, new), (1, new)]),
            (&[], &["a"], vec![(1, new), (0, new), (2, new)]),
        ] {
            assert_eq!(steps(&bundles, &set(before), &set(now)), wanted, "{before:?} {now:?}");
        }
    }
}
