//! Which lines of `pg_hba.conf` can be reached: the first one that matches a client decides.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::sql::{Address, HbaRule};

/// How many lines are examined for one question: each with every superuser, and with the databases that the lines above it name.
pub(super) const MOST_RULES: usize = 2000;
/// How many pairs of words are compared to find lines that are never reached: those of some two thousand lines with one database
/// and one role each.
const MOST_COMPARISONS: usize = 4_000_000;
/// How many pairs of words are compared to see whether earlier lines match everything that a line matches. If there are more,
/// the earlier lines count as if they did not, and a finding reports which clients the line lets in.
const MOST_WORDS: usize = 10_000;

/// How many of the rules, from the first one on, are compared with all lines above them.
#[must_use]
pub fn compared(rules: &[HbaRule]) -> usize {
    let mut left = MOST_COMPARISONS;
    let (mut databases, mut users) = (0_usize, 0_usize);
    let costs = rules.iter().map(|rule| {
        let (own, names) = (rule.databases.len(), rule.users.len());
        let cost = databases.saturating_mul(own).saturating_add(users.saturating_mul(names));
        (databases, users) = (databases + own, users + names);
        if rule.wants_certificate() { cost } else { 0 }
    });
    costs
        .take_while(|cost| {
            let enough = left.checked_sub(*cost);
            left = enough.unwrap_or(0);
            enough.is_some()
        })
        .count()
}

/// Whether an earlier line matches all that the later one matches.
pub(super) fn shadows(earlier: &HbaRule, later: &HbaRule) -> bool {
    let kind = earlier.kind == later.kind
        || (earlier.kind == "host" && later.kind.starts_with("host"))
        || (earlier.kind == "hostnogssenc" && later.kind == "hostssl");
    let address = match (&earlier.address, &later.address) {
        (Some(Address::All), Some(_)) if !earlier.quotes_known => false,
        (Some(earlier), Some(later)) => earlier.includes(later),
        (None, None) => true,
        _ => false,
    };
    kind && address
        && includes(earlier, &earlier.databases, &later.databases)
        && includes(earlier, &earlier.users, &later.users)
}

/// How many lines that decide about a role are stored.
pub const MOST_DECIDERS: usize = 100;

/// Whether earlier lines decide about all clients with TLS that the line matches. All of `earlier` are about the role in
/// question.
#[must_use]
pub fn is_decided(rule: &HbaRule, earlier: &[&HbaRule]) -> bool {
    let of_kind = |earlier: &&&HbaRule| {
        earlier.kind == rule.kind || matches!(earlier.kind.as_str(), "host" | "hostnogssenc")
    };
    let earlier: Vec<&HbaRule> = earlier.iter().filter(of_kind).copied().collect();
    is_covered(rule, &earlier)
}

/// Whether earlier lines, taken together, match all databases and addresses that the line matches: `0.0.0.0/0` and `::/0` are `all`.
pub(super) fn is_covered(rule: &HbaRule, earlier: &[&HbaRule]) -> bool {
    let families = [
        Some(Address::network(Ipv4Addr::UNSPECIFIED.into(), 0)),
        Some(Address::network(Ipv6Addr::UNSPECIFIED.into(), 0)),
    ];
    let words: usize = earlier.iter().map(|earlier| earlier.databases.len()).sum();
    if words.saturating_mul(rule.databases.len()) > MOST_WORDS {
        return false;
    }
    let addresses = if rule.address == Some(Address::All) {
        &families[..]
    } else {
        std::slice::from_ref(&rule.address)
    };
    rule.databases.iter().all(|database| {
        let decides = |earlier: &&&HbaRule| {
            includes(earlier, &earlier.databases, std::slice::from_ref(database))
                && (earlier.quotes_known || earlier.address != Some(Address::All))
        };
        let covered: Vec<&Address> =
            earlier.iter().filter(decides).filter_map(|earlier| earlier.address.as_ref()).collect();
        addresses.iter().flatten().all(|address| address.is_within(&covered))
            && addresses.iter().all(Option::is_some)
    })
}

/// Whether `words`, the databases or the users of an earlier line, match all of the later ones. `all` matches no replication
/// connection; only the word `replication` does. In lists that are too long to compare, only `all` counts.
pub(super) fn includes(earlier: &HbaRule, words: &[String], later: &[String]) -> bool {
    let has_all = earlier.quotes_known && words.iter().any(|word| word == "all");
    let are_compared = words.len().saturating_mul(later.len()) <= MOST_WORDS;
    later.iter().all(|word| {
        (has_all && word != "replication")
            || (are_compared && earlier.is_sure(word) && words.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;

    fn facts(words: usize, lines: usize) -> Vec<HbaRule> {
        let names = |letter: &str| {
            let names: Vec<String> = (0..words).map(|number| format!("{letter}{number}")).collect();
            names.join(",")
        };
        let mut hba: Vec<String> = (0..lines)
            .map(|line| format!("hostssl {},e{line} all 10.{line}.0.0/16 reject", names("d")))
            .collect();
        hba.push(format!("hostssl {} all 10.0.1.0/24 cert", names("d")));
        parsed(&hba.join("\n"), "").rules
    }

    #[test]
    fn b76_long_lists_of_names_are_not_compared_without_end_and_count_as_undecided() {
        for (words, is_compared) in [(10, true), (5_000, false)] {
            let rules = facts(words, 90);
            let (last, earlier) = rules.split_last().unwrap();
            let earlier: Vec<&HbaRule> = earlier.iter().collect();
            assert_eq!(is_covered(last, &earlier), is_compared, "{words}");
            assert_eq!(compared(&rules) == rules.len(), is_compared, "{words}");
            assert_eq!(
                includes(earlier[0], &earlier[0].databases, &last.databases),
                is_compared,
                "{words}"
            );
        }
        // A short list that has `all` decides about a long one.
        let (short, long) = (parsed("hostssl all all all reject", ""), facts(5_000, 0));
        assert!(includes(&short.rules[0], &short.rules[0].databases, &long[0].databases));
    }
}
