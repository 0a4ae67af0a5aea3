//! The order of a change of the authorities: every server trusts the new authority before the first leaf of it appears.
//!
//! This pgsvid knows the sets that it has published, and which of them its own consumers are proven to have loaded. It does not
//! know the servers of other machines; but if this machine was not told of the authority before its leaf, others were not either.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use crate::consumers::Publication;
use crate::finding::{Code, Finding};
use crate::material::{Certificate, Fingerprint, Material, Usage, verify_path};

/// Most consumers in one sentence.
const MOST_LISTED: usize = 5;

/// What is known of the authorities that were published and loaded.
#[derive(Default)]
pub(super) struct Order {
    /// The set that was published last.
    last: Option<Last>,
    /// The authorities of the set that each consumer was last proven to have loaded.
    loaded: BTreeMap<String, Trusted>,
}

struct Last {
    leaf: Fingerprint,
    trusted: Trusted,
    /// The authorities that have signed its leaf.
    signing_authorities: Trusted,
}

/// The fingerprints of authorities.
type Trusted = HashSet<Fingerprint>;

/// The conclusion about a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// It has the leaf of the set before: nothing is new.
    Same,
    /// The order was kept, or nothing is known of a set before.
    Kept,
    /// The authority of the leaf had not been published before.
    Unannounced,
    /// It had, but these consumers are not proven to have loaded it.
    NotLoaded(Vec<String>),
}

impl Order {
    /// Records that a consumer is proven to have loaded a set.
    pub(super) fn loaded(&mut self, consumer: &str, publication: &Publication) {
        self.loaded.insert(consumer.to_owned(), trusted(publication));
    }

    /// Judges a set that is published now. `consumers` are the names of all consumers.
    pub(super) fn published<'a>(
        &mut self,
        publication: &Publication,
        consumers: impl Iterator<Item = &'a str>,
        now: SystemTime,
    ) -> Conclusion {
        let material = &publication.material;
        let leaf = material.leaf().fingerprint();
        let trusted = trusted(publication);
        let signing_authorities = signing_authorities(material, now);
        let Some(last) = self.last.take() else {
            self.last = Some(Last { leaf, trusted, signing_authorities });
            return Conclusion::Kept;
        };
        let conclusion = if last.leaf == leaf {
            Conclusion::Same
        } else if !signing_authorities.is_disjoint(&last.signing_authorities)
            || signing_authorities.is_empty()
            || last.signing_authorities.is_empty()
        {
            // If several authorities sign a leaf only together, nothing is known of any of them.
            Conclusion::Kept
        } else if signing_authorities.is_disjoint(&last.trusted) {
            Conclusion::Unannounced
        } else {
            let has_loaded = |name: &str| {
                self.loaded.get(name).is_some_and(|loaded| !signing_authorities.is_disjoint(loaded))
            };
            let behind: Vec<_> =
                consumers.filter(|name| !has_loaded(name)).map(str::to_owned).collect();
            if behind.is_empty() { Conclusion::Kept } else { Conclusion::NotLoaded(behind) }
        };
        self.last = Some(Last { leaf, trusted, signing_authorities });
        conclusion
    }
}

impl Conclusion {
    /// The finding, if the order was not kept.
    pub(super) fn finding(&self, material: &Material) -> Option<Finding> {
        let serial = material.leaf().serial().short();
        let cause = match self {
            Self::Same | Self::Kept => return None,
            Self::Unannounced => {
                "the authority came in the same set as its first leaf, so no server had time to load it before".to_owned()
            }
            Self::NotLoaded(behind) => {
                let mut names = behind.iter().take(MOST_LISTED).cloned().collect::<Vec<_>>().join(", ");
                if behind.len() > MOST_LISTED {
                    names.push_str(", …");
                }
                format!("the authority was published, but not proven to be loaded by {names}")
            }
        };
        let text = format!(
            "the published leaf {serial} is of a new authority, and not every server is proven to have loaded that authority before: servers and clients of other \
             machines may refuse it (unknown ca)"
        );
        Some(Finding::warning(Code::AuthorityOrder, text).cause(cause).fix(
            "see on each machine that its servers have loaded the new bundle (pgsvid status); at the next change activate the new \
             authority only when all have it",
        ))
    }
}

fn trusted(publication: &Publication) -> Trusted {
    let Publication { material, extra_authorities, .. } = publication;
    material.authorities().chain(extra_authorities).map(Certificate::fingerprint).collect()
}

/// Those authorities of the trust domain that have signed the leaf, each alone. A leaf of an earlier run may have expired: then those
/// count that signed it at its end.
fn signing_authorities(material: &Material, now: SystemTime) -> Trusted {
    let end = material.leaf().not_after();
    let now = end.checked_sub(Duration::from_secs(1)).map_or(now, |end| now.min(end));
    let intermediates: Vec<Certificate> = material.chain().skip(1).cloned().collect();
    let vouches = |one: &&Certificate| {
        let alone = std::slice::from_ref(*one);
        verify_path(material.leaf(), &intermediates, alone, Usage::Any, now).is_ok()
    };
    material.own_authorities().iter().filter(vouches).map(Certificate::fingerprint).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dev_agent::{Authority, Entry};
    use test_support::checked;

    use super::*;
    use crate::finding::Severity;
    use crate::timing;

    /// A new leaf of the first of these authorities, all of which are in the bundle.
    fn publication(authorities: &[&Authority]) -> Publication {
        let mut svid = authorities[0].issue(&Entry::new("spiffe://example.org/db")).unwrap();
        svid.bundle = authorities.iter().map(|authority| authority.root().to_vec()).collect();
        Publication {
            generation: 1,
            material: Arc::new(checked(&svid, timing::now())),
            extra_authorities: Vec::new(),
        }
    }

    #[test]
    fn l05_l06_l07_only_a_leaf_whose_authority_each_consumer_has_loaded_is_in_order() {
        let [old, new] = [1, 2].map(|_| Authority::new("example.org", false).unwrap());
        let judged = |order: &mut Order, publication: &Publication| {
            order.published(publication, ["a", "b"].into_iter(), timing::now())
        };
        let first = publication(&[&old]);
        let both = publication(&[&old, &new]);
        let next = publication(&[&new, &old]);
        let begun = || {
            let mut order = Order::default();
            assert_eq!(judged(&mut order, &first), Conclusion::Kept, "nothing was before");
            assert_eq!(judged(&mut order, &first), Conclusion::Same);
            for consumer in ["a", "b"] {
                order.loaded(consumer, &first);
            }
            order
        };
        // It comes with its first leaf.
        let mut order = begun();
        let unannounced = judged(&mut order, &next);
        assert_eq!(unannounced, Conclusion::Unannounced);
        // pgsvid was down until after the end of the earlier leaf.
        let mut order = Order::default();
        let later = timing::now() + Duration::from_secs(7 * 24 * 3600);
        let consumers = || ["a", "b"].into_iter();
        assert_eq!(order.published(&first, consumers(), later), Conclusion::Kept);
        assert_eq!(order.published(&next, consumers(), later), Conclusion::Unannounced);
        // The next leaf of it is no change.
        let mut order = begun();
        assert_eq!(judged(&mut order, &next), Conclusion::Unannounced);
        assert_eq!(judged(&mut order, &publication(&[&new, &old])), Conclusion::Kept);
        // One consumer has loaded it.
        let mut order = begun();
        assert_eq!(judged(&mut order, &both), Conclusion::Kept);
        order.loaded("b", &both);
        let behind = judged(&mut order, &next);
        assert_eq!(behind, Conclusion::NotLoaded(vec!["a".to_owned()]));
        for conclusion in [unannounced, behind] {
            let found = conclusion.finding(&next.material).unwrap();
            assert_eq!((found.code, found.severity), (Code::AuthorityOrder, Severity::Warning));
            assert!(found.cause.is_some() && found.fix.is_some());
        }
        // Both have.
        let mut order = begun();
        assert_eq!(judged(&mut order, &both), Conclusion::Kept);
        for consumer in ["a", "b"] {
            order.loaded(consumer, &both);
        }
        let kept = judged(&mut order, &next);
        assert_eq!(kept, Conclusion::Kept);
        assert!(kept.finding(&next.material).is_none());
        // The old authority is removed, and the leaf stays.
        let mut svid = next;
        svid.generation = 9;
        assert_eq!(judged(&mut order, &svid), Conclusion::Same);
    }

    /// A new intermediate of the same root is no change of the authority.
    #[test]
    fn l07_another_intermediate_of_the_same_root_is_in_order() {
        let root = Authority::new("example.org", true).unwrap();
        let mut order = Order::default();
        for _ in 0..2 {
            let judged = order.published(&publication(&[&root]), ["a"].into_iter(), timing::now());
            assert_eq!(judged, Conclusion::Kept);
        }
    }
}
