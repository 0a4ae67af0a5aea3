//! Which of several SVIDs to use.
//!
//! Agents guarantee no order, and some use another order in each message. So if several SVIDs fit the configuration, the one
//! that continues the published identity is used: another one would change the database's SPIFFE ID, and break all rules that
//! name it. Otherwise the first one is used, as the specification says.

use super::Settings;
use super::wire::Svid;
use crate::material::{Certificate, Names, TrustDomain};
use crate::text::shown;

/// Most SVIDs that are listed.
const MOST_LISTED: usize = 8;

/// Which of several SVIDs to use.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The required SPIFFE ID.
    pub spiffe_id: Option<String>,
    /// The required hint.
    pub hint: Option<String>,
    /// The published names: of several SVIDs that fit, the one that continues them is used.
    pub published: Option<Names>,
}

/// The SVID to use, and the others that fit.
pub(super) struct Selected<'a, 'b> {
    pub(super) svid: &'b Svid<'a>,
    fitting: Vec<&'b Svid<'a>>,
    is_kept: bool,
}

/// Why no SVID is used.
#[derive(Debug)]
pub(super) enum Unselected {
    /// The message has none.
    NoSvid,
    /// No SVID fits the configuration.
    NoMatch {
        /// How many SVIDs there are.
        offered: usize,
        /// The configured requirement, in words.
        wanted: String,
        /// The first few of them.
        list: String,
    },
}

/// A choice between several SVIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// How many fit.
    pub count: usize,
    /// The first few of them with their hints, in an order independent of the message.
    pub list: String,
    /// The one that is used.
    pub taken: String,
    /// Whether it is used because it is published already.
    pub is_kept: bool,
    /// How to configure the choice.
    pub fix: String,
}

impl Selected<'_, '_> {
    /// The choice between several SVIDs; `None` if only one fits.
    pub(super) fn choice(&self) -> Option<Choice> {
        let count = self.fitting.len();
        if count < 2 {
            return None;
        }
        let mut list: Vec<String> = self.fitting.iter().map(|svid| described(svid)).collect();
        list.sort_unstable();
        list.truncate(MOST_LISTED);
        Some(Choice {
            count,
            list: list.join(", "),
            taken: described(self.svid),
            is_kept: self.is_kept,
            fix: self.fix(),
        })
    }

    /// What distinguishes the chosen SVID from the others.
    fn fix(&self) -> String {
        let Svid { spiffe_id, hint, .. } = *self.svid;
        let alone = |same: &dyn Fn(&Svid<'_>) -> bool| {
            self.fitting.iter().filter(|svid| same(svid)).count() == 1
        };
        if alone(&|svid| svid.spiffe_id == spiffe_id) {
            let id = shown(spiffe_id);
            format!("to use no other, set svid.spiffe_id = \"{id}\" (--spiffe-id {id})")
        } else if !hint.is_empty() && alone(&|svid| svid.hint == hint) {
            let hint = shown(hint);
            format!("to use no other, set svid.hint = \"{hint}\" (--hint '{hint}')")
        } else {
            "remove one of the registration entries, or give each a hint of its own (-hint) and set svid.hint (--hint)"
                .to_owned()
        }
    }
}

/// Chooses the SVID that continues the published identity, otherwise the first that fits.
pub(super) fn select<'a, 'b>(
    svids: &'b [Svid<'a>],
    settings: &Settings,
) -> Result<Selected<'a, 'b>, Unselected> {
    if svids.is_empty() {
        return Err(Unselected::NoSvid);
    }
    let selection = &settings.selection;
    let wanted = |svid: &&Svid<'_>| {
        selection.spiffe_id.as_ref().is_none_or(|id| id == svid.spiffe_id)
            && selection.hint.as_ref().is_none_or(|hint| hint == svid.hint)
    };
    let fitting: Vec<&Svid<'a>> = svids.iter().filter(wanted).collect();
    let Some(first) = fitting.first().copied() else {
        let list: Vec<String> = svids.iter().take(MOST_LISTED).map(described).collect();
        return Err(Unselected::NoMatch {
            offered: svids.len(),
            wanted: requirement(selection),
            list: list.join(", "),
        });
    };
    let kept = published(settings).and_then(|names| continuing(&fitting, names));
    Ok(Selected { svid: kept.unwrap_or(first), fitting, is_kept: kept.is_some() })
}

/// The published names, unless the configuration would refuse them now.
fn published(settings: &Settings) -> Option<&Names> {
    let names = settings.selection.published.as_ref()?;
    let wanted = settings.expectations.trust_domain.as_ref();
    let is_refused = wanted
        .is_some_and(|wanted| TrustDomain::new(&names.spiffe_id).ok().as_ref() != Some(wanted));
    (!is_refused).then_some(names)
}

/// The SVID with the same SPIFFE ID. An agent may send several, one for each registration entry: of these, the one that loses
/// the fewest names, and has the same CN and the same hint.
fn continuing<'a, 'b>(fitting: &[&'b Svid<'a>], published: &Names) -> Option<&'b Svid<'a>> {
    let same = |svid: &&&Svid<'_>| svid.spiffe_id == published.spiffe_id;
    let mut same: Vec<&Svid<'a>> = fitting.iter().filter(same).copied().collect();
    if same.len() > 1 {
        same.sort_by_cached_key(|svid| {
            let other_hint = published.hint.as_deref().is_some_and(|hint| hint != svid.hint);
            let Some(leaf) = Certificate::first(svid.chain) else {
                return (usize::MAX, true, other_hint);
            };
            let names = Names::new(svid.spiffe_id, &leaf);
            let lost = names.lacks(&published.hosts).len();
            (lost, names.subject_change(published).is_some(), other_hint)
        });
    }
    same.first().copied()
}

fn described(svid: &Svid<'_>) -> String {
    match svid.hint {
        "" => shown(svid.spiffe_id),
        hint => format!("{} (hint \"{}\")", shown(svid.spiffe_id), shown(hint)),
    }
}

fn requirement(selection: &Selection) -> String {
    let id = selection.spiffe_id.as_ref().map(|id| format!("the ID {id}"));
    let hint = selection.hint.as_ref().map(|hint| format!("the hint {hint:?}"));
    [id, hint].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::material::Expectations;

    fn names_of(spiffe_id: &str) -> Names {
        Names { spiffe_id: spiffe_id.to_owned(), ..Names::default() }
    }

    #[test]
    fn f36_what_is_published_is_not_kept_where_the_configuration_refuses_it() {
        let svids =
            ["spiffe://b/1", "spiffe://a/1"].map(|spiffe_id| Svid { spiffe_id, ..Svid::default() });
        let taken = |trust_domain: Option<&str>| {
            let settings = Settings {
                endpoint: "tcp://127.0.0.1:1".parse().unwrap(),
                selection: Selection {
                    published: Some(names_of("spiffe://a/1")),
                    ..Selection::default()
                },
                expectations: Expectations {
                    trust_domain: trust_domain.map(|it| TrustDomain::new(it).unwrap()),
                    ..Expectations::default()
                },
                federated_bundles: false,
            };
            select(&svids, &settings).unwrap().svid.spiffe_id
        };
        assert_eq!(taken(None), "spiffe://a/1");
        assert_eq!(taken(Some("a")), "spiffe://a/1");
        assert_eq!(taken(Some("b")), "spiffe://b/1");
    }
}
