//! Turns one message of the Workload API into one offer: which SVID to use, and its parts.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::Settings;
use super::selection::{Choice, Unselected, select};
use super::wire::{Message, Unreadable};
use crate::material::{
    Certificate, LARGEST_BUNDLE, LARGEST_CHAIN, Material, Obstacle, Offer, Rejection, TrustDomain,
    certificates, domains_in_each_others_way,
};
use crate::text::shown;

/// Largest bundle, together with those of federated trust domains, in bytes. PostgreSQL can name about 580 of SPIRE's
/// authorities in a handshake ([`crate::material::MOST_NAMES`]); with RSA keys these take 800,000 bytes.
const LARGEST_BUNDLES: usize = 1024 * 1024;
/// Longest hint, in bytes. It is kept as long as the identity.
const LONGEST_HINT: usize = 1024;
/// How many of the federated bundles that are left out are listed.
const MOST_NAMED: usize = 4;

/// Why a message gave no material.
#[derive(Debug, thiserror::Error)]
pub enum Discarded {
    /// The bytes are not a message, or an absurd one.
    #[error("the message is malformed: {0}")]
    Unreadable(Unreadable),
    /// Workload API section 5.2.1: the list is mandatory.
    #[error("the message holds no SVID")]
    NoSvid,
    /// No SVID matches the configuration.
    #[error("none of the {offered} SVIDs offered has {wanted}; offered: {list}")]
    NoMatch {
        /// How many there are.
        offered: usize,
        /// The configured requirement, in words.
        wanted: String,
        /// The first few of them.
        list: String,
    },
    /// More bytes than any real certificates or hints have.
    #[error("the {field} has {size} bytes, more than the {most} that are allowed")]
    TooLarge {
        /// `certificate chain`, `bundle` or `hint`.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// The chosen SVID failed a check.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl From<Unselected> for Discarded {
    fn from(why: Unselected) -> Self {
        match why {
            Unselected::NoSvid => Self::NoSvid,
            Unselected::NoMatch { offered, wanted, list } => {
                Self::NoMatch { offered, wanted, list }
            }
        }
    }
}

/// Which federated bundles, or authorities of them, were left out of a message, and why; empty if none were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// They do not fit, would not be loaded, or OpenSSL could mistake them for others.
    pub(super) unfit: String,
    /// It would take too long to find out whether OpenSSL could mistake them for others.
    pub(super) unproven: String,
}

/// The result for a message.
pub(super) struct Judged {
    pub(super) material: Result<Material, Discarded>,
    /// Which of its federated bundles were left out.
    pub(super) left_out: LeftOut,
    /// The choice between several SVIDs, if there was one.
    pub(super) choice: Option<Choice>,
}

impl Settings {
    /// Chooses one SVID of a received message, and checks it.
    ///
    /// `now` is the wall-clock time that validity is judged by.
    pub fn material(
        &self,
        message: impl Into<Zeroizing<Vec<u8>>>,
        now: SystemTime,
    ) -> Result<Material, Discarded> {
        self.judge(message.into(), now).material
    }

    /// The same, with what else is to be reported.
    pub(super) fn judge(&self, message: Zeroizing<Vec<u8>>, now: SystemTime) -> Judged {
        let chosen = self.choose(&message);
        // Before certificates are parsed: the message may take megabytes, and contains keys that were not chosen.
        drop(message);
        let mut left_out = LeftOut::default();
        let mut choice = None;
        let material = chosen.and_then(|(offer, bundles, between)| {
            choice = between;
            let mut material = Material::check(offer, &self.expectations, now)?;
            left_out = federate(&mut material, bundles);
            Ok(material)
        });
        Judged { material, left_out, choice }
    }

    /// A copy of the chosen SVID, the federated bundles, and the choice between several, if there was one.
    fn choose(&self, message: &[u8]) -> Result<(Offer, Bundles, Option<Choice>), Discarded> {
        let message = Message::read(message).map_err(Discarded::Unreadable)?;
        let selected = select(&message.svids, self)?;
        let (svid, choice) = (selected.svid, selected.choice());
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
        Ok((offer, bundles, choice))
    }
}

/// The kinds of reasons: a closed set, for use as a label.
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
                Rejection::NoRoot(_)
                | Rejection::TooManyNames { .. }
                | Rejection::ChainTooLarge { .. }
                | Rejection::Unsigned(_) => "chain",
                Rejection::Expired(_) | Rejection::NotYetValid(_) => "validity",
            },
        }
    }
}

/// A counter of zero for each kind of reason.
pub(super) fn no_rejections() -> Vec<(&'static str, u64)> {
    REASONS.map(|reason| (reason, 0)).into()
}

/// Bundles of other trust domains, ordered by name, because the published bytes need an order. A bundle for the workload's
/// own domain would replace its real bundle. A malformed or enormous bundle must not prevent the use of the others. Such
/// bundles are left out.
#[derive(Default)]
struct Bundles {
    taken: Vec<(TrustDomain, Vec<u8>)>,
    left_out: Named,
    /// Those whose keys could not be proven within the limit.
    unproven: Named,
}

/// What was left out: the first few in words, and how many there are.
#[derive(Default)]
struct Named {
    words: Vec<String>,
    /// How many there are, including those that `words` does not list.
    count: usize,
}

impl Named {
    fn add(&mut self, domain: &str, why: &str) {
        self.count += 1;
        if self.count <= MOST_NAMED {
            self.words.push(format!("{}: {}", shown(domain), shown(why)));
        }
    }

    fn in_words(mut self) -> String {
        if let Some(more @ 1..) = self.count.checked_sub(MOST_NAMED) {
            self.words.push(format!("and {more} more"));
        }
        self.words.join("; ")
    }
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

    /// Leaves out single authorities that OpenSSL could mistake for those of `whose`: `ours`, or `another trust domain's`.
    fn leave_authorities(&mut self, domain: &TrustDomain, left: &[Certificate], whose: &str) {
        if let Some(first) = left.first() {
            let why = format!(
                "{} of its authorities, which OpenSSL could mistake for {whose}: serial {}, {}",
                left.len(),
                first.serial().short(),
                first.subject_text()
            );
            self.leave(domain.as_ref(), &why);
        }
    }

    /// Leaves out authorities whose name is shared by more certificates than the budget allows to examine.
    fn leave_unproven(&mut self, domain: &TrustDomain, left: &[Certificate]) {
        if let Some(first) = left.first() {
            let (count, name) = (left.len(), first.subject_text());
            self.unproven
                .add(domain.as_ref(), &format!("{count} of its authorities, such as {name}"));
        }
    }

    fn leave(&mut self, domain: &str, why: &str) {
        self.left_out.add(domain, why);
    }
}

/// Adds the authorities of other trust domains; returns in words which were left out.
fn federate(material: &mut Material, mut bundles: Bundles) -> LeftOut {
    let mut read = Vec::new();
    for (domain, der) in std::mem::take(&mut bundles.taken) {
        match certificates(&der, LARGEST_BUNDLE) {
            Ok(found) => read.push((domain, found)),
            Err(error) => bundles.leave(domain.as_ref(), &error.to_string()),
        }
    }
    // Authorities that could be mistaken for ours are left out anyway, so they hide no others.
    let losers =
        domains_in_each_others_way(read.iter().map(|(_, all)| {
            all.iter().filter(|found| !material.is_obstructed_by(found)).collect()
        }));
    for (domain, found) in read {
        let is_rival = |found: &Certificate| losers.rivals.contains(&found.fingerprint());
        let (rivals, found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_rival);
        let is_unproven = |found: &Certificate| losers.unproven.contains(&found.fingerprint());
        let (unproven, found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_unproven);
        let left = match material.federate(found) {
            Ok(left) => left,
            Err(why) => {
                bundles.leave(domain.as_ref(), &why.to_string());
                Vec::new()
            }
        };
        let with = |wanted: Obstacle| {
            let of_kind = left.iter().filter(move |(_, obstacle)| *obstacle == wanted);
            of_kind.map(|(found, _)| found.clone())
        };
        let ours: Vec<_> = with(Obstacle::Ours).collect();
        bundles.leave_authorities(&domain, &ours, "ours");
        let theirs: Vec<_> = rivals.into_iter().chain(with(Obstacle::Federated)).collect();
        bundles.leave_authorities(&domain, &theirs, "another trust domain's");
        let unproven: Vec<_> = unproven.into_iter().chain(with(Obstacle::Unproven)).collect();
        bundles.leave_unproven(&domain, &unproven);
    }
    LeftOut { unfit: bundles.left_out.in_words(), unproven: bundles.unproven.in_words() }
}

#[cfg(test)]
mod tests {
    use test_support::Dice;

    use super::*;
    use crate::material::{Expectations, Names};
    use crate::source::workload_api::Selection;
    use crate::source::workload_api::wire::Svid;

    fn names_of(spiffe_id: &str) -> Names {
        Names { spiffe_id: spiffe_id.to_owned(), ..Names::default() }
    }

    #[test]
    fn w14_of_the_svids_that_match_id_and_hint_the_published_one_or_else_the_first_is_used() {
        let mut dice = Dice::from_environment("SELECTION_SEED");
        let seed = dice.seed();
        // Few values, so that they repeat; an empty hint means none.
        let (ids, hints) = (["spiffe://a/1", "spiffe://a/2", "spiffe://b/1"], ["", "x", "y"]);
        for _ in 0..5000 {
            let svids: Vec<Svid<'_>> = (0..dice.between(0..=6))
                .map(|_| Svid {
                    spiffe_id: dice.one_of::<&str>(&ids),
                    hint: dice.one_of::<&str>(&hints),
                    ..Default::default()
                })
                .collect();
            let published = dice.once_in(2).then(|| names_of(dice.one_of::<&str>(&ids)));
            let mut wish = |values: &[&str]| {
                let value = (*dice.one_of(values)).to_owned();
                (!dice.once_in(3)).then_some(value)
            };
            let (spiffe_id, hint) = (wish(&ids), wish(&hints));
            let settings = Settings {
                endpoint: "tcp://127.0.0.1:1".parse().unwrap(),
                selection: Selection { spiffe_id, hint, published: published.clone() },
                expectations: Expectations::default(),
                federated_bundles: false,
            };
            let selection = &settings.selection;
            let fits = |svid: &Svid<'_>| {
                let Selection { spiffe_id, hint, .. } = selection;
                (spiffe_id.is_none() || *spiffe_id == Some(svid.spiffe_id.to_owned()))
                    && (hint.is_none() || *hint == Some(svid.hint.to_owned()))
            };
            match select(&svids, &settings) {
                Ok(found) => {
                    let count = svids.iter().filter(|svid| fits(svid)).count();
                    assert_eq!(
                        found.choice().map(|choice| choice.count),
                        Some(count).filter(|it| *it > 1)
                    );
                    let found = found.svid;
                    assert!(fits(found), "{seed}: {svids:?} {selection:?}");
                    let goes_on = |svid: &Svid<'_>| {
                        published.as_ref().is_some_and(|names| names.spiffe_id == svid.spiffe_id)
                    };
                    let one_goes_on = svids.iter().any(|svid| fits(svid) && goes_on(svid));
                    assert_eq!(goes_on(found), one_goes_on, "{seed}: {svids:?} {selection:?}");
                    let index = svids.iter().position(|svid| std::ptr::eq(svid, found)).unwrap();
                    let before = svids[..index]
                        .iter()
                        .any(|svid| fits(svid) && goes_on(svid) == one_goes_on);
                    assert!(!before, "{seed}: {svids:?} {selection:?}");
                }
                Err(Unselected::NoSvid) => assert!(svids.is_empty(), "{seed}"),
                Err(Unselected::NoMatch { offered, .. }) => {
                    assert_eq!(offered, svids.len());
                    assert!(!svids.iter().any(fits), "{seed}: {svids:?} {selection:?}");
                }
            }
        }
    }
}
