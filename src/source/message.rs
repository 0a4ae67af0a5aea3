//! From one message of the Workload API to one offer: which SVID to take, and what of it.

use std::time::SystemTime;

use pgsvid_proto::{X509svid, X509svidResponse};
use tracing::warn;
use zeroize::{Zeroize as _, Zeroizing};

use super::Settings;
use crate::material::{
    Certificate, LARGEST_BUNDLE, Material, Offer, Rejection, TrustDomain, certificates,
};
use crate::text::shown;

/// Which of several SVIDs to take. Without any wish the first one is the default identity.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The SPIFFE ID to look for.
    pub spiffe_id: Option<String>,
    /// The operator's hint to look for.
    pub hint: Option<String>,
}

/// Why a message gave no material.
#[derive(Debug, thiserror::Error)]
pub enum Discarded {
    /// Workload API section 5.2.1: the list is mandatory.
    #[error("the message holds no SVID")]
    NoSvid,
    /// None matches the configuration.
    #[error("none of the {offered} SVIDs offered has {wanted}; offered: {list}")]
    NoMatch {
        /// How many there are.
        offered: usize,
        /// What the configuration wants, in words.
        wanted: String,
        /// The first few of them.
        list: String,
    },
    /// The chosen one failed a check.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Settings {
    /// Chooses one SVID of the message and checks it. Every other key in the message is zeroed.
    ///
    /// `now` is the wall-clock time that validity is judged by.
    pub fn material(
        &self,
        mut message: X509svidResponse,
        now: SystemTime,
    ) -> Result<Material, Discarded> {
        let chosen = select(&message.svids, &self.selection);
        let chosen = chosen.map(|index| message.svids.swap_remove(index));
        wipe(&mut message);
        let chosen = chosen?;
        let federated = if self.federated_bundles {
            foreign_authorities(&message, &chosen.spiffe_id)
        } else {
            Vec::new()
        };
        let offer = Offer {
            spiffe_id: Some(chosen.spiffe_id),
            hint: chosen.hint,
            chain: chosen.x509_svid,
            key: Zeroizing::new(chosen.x509_svid_key),
            bundle: chosen.bundle,
            federated,
        };
        Ok(Material::check(offer, &self.expectations, now)?)
    }
}

/// What kinds of reasons there are: a closed set, fit for a label.
const REASONS: [&str; 8] =
    ["no-svid", "no-match", "malformed", "leaf", "identity", "key", "chain", "validity"];

impl Discarded {
    /// The kind of the reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NoSvid => "no-svid",
            Self::NoMatch { .. } => "no-match",
            Self::Rejected(rejection) => match rejection {
                Rejection::Empty { .. } | Rejection::Chain(_) | Rejection::Bundle(_) => "malformed",
                Rejection::LeafIsAuthority | Rejection::KeyUsage(_) | Rejection::UriNames(_) => {
                    "leaf"
                }
                Rejection::Identity(_)
                | Rejection::OtherIdentity { .. }
                | Rejection::UnexpectedIdentity { .. }
                | Rejection::UnexpectedTrustDomain { .. } => "identity",
                Rejection::KeyTooLarge { .. } | Rejection::Key(_) | Rejection::KeyMismatch => "key",
                Rejection::NoRoot(_) | Rejection::TooManyNames { .. } | Rejection::Unsigned(_) => {
                    "chain"
                }
                Rejection::Expired(_) | Rejection::NotYetValid(_) => "validity",
            },
        }
    }
}

/// No rejection yet, of any kind.
pub(super) fn no_rejections() -> Vec<(&'static str, u64)> {
    REASONS.map(|reason| (reason, 0)).into()
}

/// Zeroes every key in a message: the generated types do not.
pub(super) fn wipe(message: &mut X509svidResponse) {
    for svid in &mut message.svids {
        svid.x509_svid_key.zeroize();
    }
}

/// The first match, as the specification has it for equal hints.
pub(super) fn select(svids: &[X509svid], selection: &Selection) -> Result<usize, Discarded> {
    if svids.is_empty() {
        return Err(Discarded::NoSvid);
    }
    let wanted = |svid: &X509svid| {
        selection.spiffe_id.as_ref().is_none_or(|id| *id == svid.spiffe_id)
            && selection.hint.as_ref().is_none_or(|hint| *hint == svid.hint)
    };
    svids.iter().position(wanted).ok_or_else(|| {
        let list: Vec<String> = svids
            .iter()
            .take(8)
            .map(|svid| match svid.hint.as_str() {
                "" => shown(&svid.spiffe_id),
                hint => format!("{} (hint \"{}\")", shown(&svid.spiffe_id), shown(hint)),
            })
            .collect();
        Discarded::NoMatch { offered: svids.len(), wanted: wish(selection), list: list.join(", ") }
    })
}

fn wish(selection: &Selection) -> String {
    let id = selection.spiffe_id.as_ref().map(|id| format!("the ID {id}"));
    let hint = selection.hint.as_ref().map(|hint| format!("the hint {hint:?}"));
    [id, hint].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// Authorities of other trust domains. One that repeats our own domain would replace its real bundle, and one
/// that is malformed must not cost us the rest: both are left out, and said.
fn foreign_authorities(message: &X509svidResponse, own_id: &str) -> Vec<Certificate> {
    let own = TrustDomain::new(own_id).ok();
    let mut bundles: Vec<_> = message.federated_bundles.iter().collect();
    // The map has no order of its own; the published bytes need one.
    bundles.sort_unstable_by_key(|(domain, _)| domain.as_str());
    let mut authorities = Vec::new();
    for (domain, der) in bundles {
        match TrustDomain::new(domain) {
            Ok(domain) if Some(&domain) == own.as_ref() => {
                warn!(%domain, "a federated bundle repeats our own trust domain; ignored");
            }
            Ok(domain) => match certificates(der, LARGEST_BUNDLE) {
                Ok(found) => authorities.extend(found),
                Err(error) => warn!(%domain, %error, "a federated bundle is malformed; ignored"),
            },
            Err(error) => {
                warn!(domain = shown(domain), %error, "a federated bundle is of no trust domain; ignored");
            }
        }
    }
    authorities
}

#[cfg(test)]
mod tests {
    use test_support::Dice;

    use super::*;

    #[test]
    fn w14_the_first_that_has_what_is_wished_is_taken_whatever_is_offered() {
        let mut dice = Dice::from_environment("SELECTION_SEED");
        let seed = dice.seed();
        // Few values, so that they are repeated; the empty hint is none.
        let (ids, hints) = (["spiffe://a/1", "spiffe://a/2", "spiffe://b/1"], ["", "x", "y"]);
        for _ in 0..5000 {
            let svids: Vec<X509svid> = (0..dice.between(0..=6))
                .map(|_| X509svid {
                    spiffe_id: (*dice.one_of(&ids)).to_owned(),
                    hint: (*dice.one_of(&hints)).to_owned(),
                    ..Default::default()
                })
                .collect();
            let mut wish = |values: &[&str]| {
                let value = (*dice.one_of(values)).to_owned();
                (!dice.once_in(3)).then_some(value)
            };
            let selection = Selection { spiffe_id: wish(&ids), hint: wish(&hints) };
            let fits = |svid: &X509svid| {
                let Selection { spiffe_id, hint } = &selection;
                (spiffe_id.is_none() || *spiffe_id == Some(svid.spiffe_id.clone()))
                    && (hint.is_none() || *hint == Some(svid.hint.clone()))
            };
            match select(&svids, &selection) {
                Ok(index) => {
                    assert!(fits(&svids[index]), "{seed}: {svids:?} {selection:?}");
                    assert!(!svids[..index].iter().any(fits), "{seed}: {svids:?} {selection:?}");
                }
                Err(Discarded::NoSvid) => assert!(svids.is_empty(), "{seed}"),
                Err(Discarded::NoMatch { offered, .. }) => {
                    assert_eq!(offered, svids.len());
                    assert!(!svids.iter().any(fits), "{seed}: {svids:?} {selection:?}");
                }
                Err(other) => panic!("{seed}: {other}"),
            }
        }
    }
}
