//! From one message of the Workload API to one offer: which SVID to take, and what of it.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::Settings;
use super::wire::{Message, Svid, Unreadable};
use crate::material::{
    Certificate, LARGEST_BUNDLE, Material, Offer, Rejection, TrustDomain, certificates,
    in_each_others_way,
};
use crate::text::shown;

/// Largest certificate chain, in bytes. A chain of four RSA certificates has eight thousand; clients and our own probe refuse a
/// handshake's message of more than about 60,000, so nobody could connect over TLS.
const LARGEST_CHAIN: usize = 48 * 1024;
/// Largest bundle, together with those of federated trust domains, in bytes. Some 580 of SPIRE's authorities are as many as
/// PostgreSQL can name in a handshake ([`crate::material::MOST_NAMES`]), and with keys of RSA they have 800,000.
const LARGEST_BUNDLES: usize = 1024 * 1024;
/// Longest hint, in bytes. It is kept for as long as the identity.
const LONGEST_HINT: usize = 1024;
/// How many of the federated bundles that are left out are named.
const MOST_NAMED: usize = 4;

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
    /// The bytes are no message, or an absurd one.
    #[error("the message is malformed: {0}")]
    Unreadable(Unreadable),
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
    /// More bytes than anybody's certificates or hints have.
    #[error("the {field} has {size} bytes, more than the {most} that are allowed")]
    TooLarge {
        /// `certificate chain`, `bundle` or `hint`.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// The chosen one failed a check.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// What has become of a message.
pub(super) struct Judged {
    pub(super) material: Result<Material, Discarded>,
    /// Which federated bundles were left out of it, and why; empty if there are none.
    pub(super) left_out: String,
}

impl Settings {
    /// Chooses one SVID of a message, as it was received, and checks it.
    ///
    /// `now` is the wall-clock time that validity is judged by.
    pub fn material(
        &self,
        message: impl Into<Zeroizing<Vec<u8>>>,
        now: SystemTime,
    ) -> Result<Material, Discarded> {
        self.judge(message.into(), now).material
    }

    /// The same, with what there is to say of it besides.
    pub(super) fn judge(&self, message: Zeroizing<Vec<u8>>, now: SystemTime) -> Judged {
        let chosen = self.choose(&message);
        // Before certificates are parsed: the message may have megabytes, and keys that were not chosen.
        drop(message);
        let mut left_out = String::new();
        let material = chosen.and_then(|(offer, bundles)| {
            let mut material = Material::check(offer, &self.expectations, now)?;
            left_out = federate(&mut material, bundles);
            Ok(material)
        });
        Judged { material, left_out }
    }

    /// A copy of the SVID that is wanted, and the federated bundles.
    fn choose(&self, message: &[u8]) -> Result<(Offer, Bundles), Discarded> {
        let message = Message::read(message).map_err(Discarded::Unreadable)?;
        let svid = select(&message.svids, &self.selection)?;
        for (field, size, most) in [
            ("certificate chain", svid.chain.len(), LARGEST_CHAIN),
            ("bundle", svid.bundle.len(), LARGEST_BUNDLES),
            ("hint", svid.hint.len(), LONGEST_HINT),
        ] {
            if size > most {
                return Err(Discarded::TooLarge { field, size, most });
            }
        }
        let offer = Offer {
            spiffe_id: Some(svid.spiffe_id.to_owned()),
            hint: svid.hint.to_owned(),
            chain: svid.chain.to_vec(),
            key: Zeroizing::new(svid.key.to_vec()),
            bundle: svid.bundle.to_vec(),
        };
        let mut bundles = Bundles::default();
        if self.federated_bundles {
            let own = TrustDomain::new(svid.spiffe_id).ok();
            let mut room = LARGEST_BUNDLES - svid.bundle.len();
            for (domain, der) in message.federated {
                bundles.take(domain, der, own.as_ref(), &mut room);
            }
        }
        Ok((offer, bundles))
    }
}

/// What kinds of reasons there are: a closed set, fit for a label.
const REASONS: [&str; 8] =
    ["no-svid", "no-match", "malformed", "leaf", "identity", "key", "chain", "validity"];

impl Discarded {
    /// The kind of the reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::TooLarge { .. } => "malformed",
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

/// The first match, as the specification has it for equal hints.
pub(super) fn select<'a, 'b>(
    svids: &'b [Svid<'a>],
    selection: &Selection,
) -> Result<&'b Svid<'a>, Discarded> {
    if svids.is_empty() {
        return Err(Discarded::NoSvid);
    }
    let wanted = |svid: &&Svid<'_>| {
        selection.spiffe_id.as_ref().is_none_or(|id| id == svid.spiffe_id)
            && selection.hint.as_ref().is_none_or(|hint| hint == svid.hint)
    };
    svids.iter().find(wanted).ok_or_else(|| {
        let list: Vec<String> = svids
            .iter()
            .take(8)
            .map(|svid| match svid.hint {
                "" => shown(svid.spiffe_id),
                hint => format!("{} (hint \"{}\")", shown(svid.spiffe_id), shown(hint)),
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

/// Bundles of other trust domains, in the order of their names: the published bytes need one. One that repeats our own
/// domain would replace its real bundle, and one that is malformed or enormous must not cost us the rest: they are left out.
#[derive(Default)]
struct Bundles {
    taken: Vec<(TrustDomain, Vec<u8>)>,
    left_out: Vec<String>,
    /// How many were left out, named or not.
    count: usize,
}

impl Bundles {
    fn take(&mut self, domain: &str, der: &[u8], own: Option<&TrustDomain>, room: &mut usize) {
        match TrustDomain::new(domain) {
            Err(error) => self.leave(domain, &error.to_string()),
            Ok(found) if Some(&found) == own => self.leave(domain, "it is our own trust domain"),
            Ok(_) if der.len() > *room => {
                self.leave(domain, &format!("all bundles have more than {LARGEST_BUNDLES} bytes"));
            }
            Ok(found) => {
                *room -= der.len();
                self.taken.push((found, der.to_vec()));
            }
        }
    }

    /// Single authorities, which OpenSSL could take for others.
    fn leave_authorities(&mut self, domain: &TrustDomain, left: &[Certificate], whose: &str) {
        if let Some(first) = left.first() {
            let why = format!(
                "{} of its authorities, which OpenSSL could take for {whose}: serial {}, {}",
                left.len(),
                first.serial().short(),
                first.subject_text()
            );
            self.leave(domain.as_ref(), &why);
        }
    }

    fn leave(&mut self, domain: &str, why: &str) {
        self.count += 1;
        if self.count <= MOST_NAMED {
            self.left_out.push(format!("{}: {}", shown(domain), shown(why)));
        }
    }
}

/// Adds the authorities of other trust domains; says in words which were left out.
fn federate(material: &mut Material, mut bundles: Bundles) -> String {
    let mut read = Vec::new();
    for (domain, der) in std::mem::take(&mut bundles.taken) {
        match certificates(&der, LARGEST_BUNDLE) {
            Ok(found) => read.push((domain, found)),
            Err(error) => bundles.leave(domain.as_ref(), &error.to_string()),
        }
    }
    let all: Vec<&Certificate> = read.iter().flat_map(|(_, found)| found).collect();
    // Those that are taken for ours are left out anyhow, and are in nobody else's way.
    let beside = all.into_iter().filter(|found| !material.is_obstructed_by(found));
    let losers = in_each_others_way(beside);
    for (domain, found) in read {
        let is_loser = |found: &Certificate| losers.contains(&found.fingerprint());
        let (rivals, found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_loser);
        bundles.leave_authorities(&domain, &rivals, "another trust domain's");
        match material.federate(found) {
            Ok(ours) => bundles.leave_authorities(&domain, &ours, "ours"),
            Err(why) => bundles.leave(domain.as_ref(), &why.to_string()),
        }
    }
    if let Some(more @ 1..) = bundles.count.checked_sub(MOST_NAMED) {
        bundles.left_out.push(format!("and {more} more"));
    }
    bundles.left_out.join("; ")
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
            let svids: Vec<Svid<'_>> = (0..dice.between(0..=6))
                .map(|_| Svid {
                    spiffe_id: dice.one_of::<&str>(&ids),
                    hint: dice.one_of::<&str>(&hints),
                    ..Default::default()
                })
                .collect();
            let mut wish = |values: &[&str]| {
                let value = (*dice.one_of(values)).to_owned();
                (!dice.once_in(3)).then_some(value)
            };
            let selection = Selection { spiffe_id: wish(&ids), hint: wish(&hints) };
            let fits = |svid: &Svid<'_>| {
                let Selection { spiffe_id, hint } = &selection;
                (spiffe_id.is_none() || *spiffe_id == Some(svid.spiffe_id.to_owned()))
                    && (hint.is_none() || *hint == Some(svid.hint.to_owned()))
            };
            match select(&svids, &selection) {
                Ok(found) => {
                    assert!(fits(found), "{seed}: {svids:?} {selection:?}");
                    let index = svids.iter().position(|svid| std::ptr::eq(svid, found)).unwrap();
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
