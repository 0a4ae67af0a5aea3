//! Which lines of `pg_hba.conf` are reached: the first one that matches a client decides.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::sql::{Address, HbaRule};

/// How many pairs of lines are compared: all of some two thousand lines.
const MOST_COMPARISONS: usize = 2_000_000;

/// How many of the rules, from the first one on, are compared with all that stand above them.
#[must_use]
pub fn compared(rules: &[HbaRule]) -> usize {
    let mut left = MOST_COMPARISONS;
    let costs = rules.iter().enumerate().map(
        |(index, rule)| {
            if rule.wants_certificate() { index } else { 0 }
        },
    );
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
        (Some(earlier), Some(later)) => earlier.includes(later),
        (None, None) => true,
        _ => false,
    };
    kind && address
        && includes(&earlier.databases, &later.databases)
        && includes(&earlier.users, &later.users)
}

/// How many lines that decide about a role are remembered.
pub const MOST_DECIDERS: usize = 100;

/// Whether earlier lines decide about all clients with TLS that the line matches. These earlier lines are about the role in
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
    let addresses = if rule.address == Some(Address::All) {
        &families[..]
    } else {
        std::slice::from_ref(&rule.address)
    };
    rule.databases.iter().all(|database| {
        let decides =
            |earlier: &&&HbaRule| includes(&earlier.databases, std::slice::from_ref(database));
        let places: Vec<&Address> =
            earlier.iter().filter(decides).filter_map(|earlier| earlier.address.as_ref()).collect();
        addresses.iter().flatten().all(|address| address.is_within(&places))
            && addresses.iter().all(Option::is_some)
    })
}

/// `all` matches no replication connection, which only `replication` does.
pub(super) fn includes(earlier: &[String], later: &[String]) -> bool {
    later.iter().all(|word| {
        earlier.contains(word)
            || (word != "replication" && earlier.iter().any(|earlier| earlier == "all"))
    })
}
