//! Which workloads the maps of `pg_ident.conf` admit over TLS, as far as pgsvid can tell, and which superusers they can be.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{AccessFacts, place};
use super::naming::MOST_NAMED;
use super::order::{MOST_DECIDERS, MOST_RULES, is_decided};
use super::superuser::named;
use super::warning;
use crate::sql::{HbaRule, Mapping, Superuser, first_parts, is_exact, word};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// How many lines of `pg_ident.conf` that admit superusers are reported.
const MOST_LINES: usize = 20;

/// The lines that use a map for a certificate.
fn asking(facts: &AccessFacts) -> impl Iterator<Item = (&str, &HbaRule)> {
    let lines = facts.rules.iter().filter(|line| line.matches_tls() && line.wants_certificate());
    lines.filter_map(|line| Some((line.map()?, line)))
}

fn mappings(facts: &AccessFacts) -> impl Iterator<Item = &Mapping> {
    facts.mappings.iter().flatten().map(|judged| &judged.mapping)
}

/// The mappings that lines for clients with TLS use, and whose names cannot be listed: sample names alone do not show what
/// else an expression matches.
#[must_use]
pub fn open_mappings(facts: &AccessFacts) -> Vec<&Mapping> {
    let maps: BTreeSet<&str> = asking(facts).map(|(map, _)| map).collect();
    let is_open = |mapping: &&Mapping| {
        let expression = mapping.system_user.strip_prefix('/');
        expression.is_some_and(|expression| !is_exact(expression))
    };
    mappings(facts).filter(|mapping| maps.contains(mapping.map.as_str())).filter(is_open).collect()
}

/// Whether a mapping lets a name log in as a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lets {
    Certainly,
    /// Yes, if the name contains the role where the expression captures it.
    Perhaps,
    /// Unknown: the role is a group or an expression.
    Unknown,
}

/// The findings about lines of `pg_ident.conf` by which a workload can log in with its certificate as one of `superusers`, at
/// most 20 and one about the rest; and the numbers, from 1, of the lines for which pgsvid cannot tell.
#[must_use]
pub fn mapped_superusers(
    facts: &AccessFacts,
    superusers: &[Superuser],
) -> (Vec<Finding>, Vec<u32>) {
    let with_tls: Vec<&HbaRule> = facts.rules.iter().filter(|line| line.matches_tls()).collect();
    let reached: Vec<(&Superuser, BTreeMap<&str, &HbaRule>)> = superusers
        .iter()
        .map(|superuser| (superuser, reached(&with_tls, &superuser.role)))
        .collect();
    let (mut concerns, mut untold) = (Vec::new(), Vec::new());
    for mapping in mappings(facts) {
        let parts = mapping.system_user.strip_prefix('/').map(first_parts);
        let found: Vec<(&Superuser, &HbaRule, Lets)> = reached
            .iter()
            .filter_map(|(superuser, maps)| {
                let line = *maps.get(mapping.map.as_str())?;
                Some((*superuser, line, lets(mapping, parts.as_ref(), &superuser.role)?))
            })
            .collect();
        let of = |lets| found.iter().filter(|(_, _, found)| *found == lets).collect::<Vec<_>>();
        for (lets, found) in [Lets::Certainly, Lets::Perhaps].map(|lets| (lets, of(lets))) {
            if let Some((first, line, _)) = found.first() {
                let roles: Vec<String> =
                    found.iter().map(|(superuser, ..)| named(superuser)).collect();
                concerns.push(concern(facts, mapping, lets, first, line, &roles));
            }
        }
        if !of(Lets::Unknown).is_empty() {
            untold.push(mapping.line);
        }
    }
    let more = concerns.len().saturating_sub(MOST_LINES);
    concerns.truncate(MOST_LINES);
    if more > 0 {
        concerns.push(warning(
            Code::SuperuserByCertificate,
            format!(
                "{} has {more} more lines that let workloads log in as superusers",
                facts.ident
            ),
            "correct the lines named here, then check again".to_owned(),
        ));
    }
    (concerns, untold)
}

/// The maps that decide whether a certificate may be the role, each with the first line that uses it. The first line that
/// matches decides.
fn reached<'a>(with_tls: &[&'a HbaRule], role: &str) -> BTreeMap<&'a str, &'a HbaRule> {
    let mut maps = BTreeMap::new();
    let mut earlier: Vec<&HbaRule> = Vec::new();
    for (number, line) in with_tls.iter().copied().enumerate() {
        if number >= MOST_RULES {
            if let Some(map) = line.map() {
                maps.entry(map).or_insert(line);
            }
            continue;
        }
        let is_about = line.is_about(role);
        if let Some(map) = line.map()
            && line.wants_certificate()
            && is_about != Some(false)
            && !maps.contains_key(map)
            && !is_decided(line, &earlier)
        {
            maps.insert(map, line);
        }
        if line.decides_about(role) && earlier.len() < MOST_DECIDERS {
            earlier.push(line);
        }
    }
    maps
}

/// Whether a mapping lets a name log in as the role. `parts` are the possible texts for `\1`, if the name is an expression and
/// they are known.
pub(super) fn lets(
    mapping: &Mapping,
    parts: Option<&Option<Vec<String>>>,
    role: &str,
) -> Option<Lets> {
    // PostgreSQL 16 and later: the role may be a group, an expression, or `all`.
    if mapping.role.starts_with(['+', '/']) {
        return Some(Lets::Unknown);
    }
    let (before, after) = match (mapping.role.split_once("\\1"), parts) {
        (Some((before, after)), Some(Some(parts))) => {
            let is_role = |part: &String| format!("{before}{part}{after}") == role;
            return parts.iter().any(is_role).then_some(Lets::Certainly);
        }
        (Some(around), Some(None)) => around,
        _ => {
            let is_role = mapping.role == "all" || mapping.role == role;
            return is_role.then_some(Lets::Certainly);
        }
    };
    let part = role.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    part.map(|_| Lets::Perhaps)
}

fn concern(
    facts: &AccessFacts,
    mapping: &Mapping,
    lets: Lets,
    first: &Superuser,
    line: &HbaRule,
    roles: &[String],
) -> Finding {
    let here = facts.ident.place(mapping);
    let (source, then) = (facts.ident.source(mapping), facts.ident.then(mapping));
    let more = roles.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let roles = format!("{}{more}", roles.get(..MOST_NAMED).unwrap_or(roles).join(", "));
    let name = shown(&mapping.system_user);
    if lets == Lets::Certainly {
        return warning(
            Code::SuperuserByCertificate,
            format!(
                "{here} lets {name} log in by its certificate as superuser {roles}: that workload has all rights in PostgreSQL"
            ),
            format!(
                "change {source} to a role that has only the rights that the workload needs, {then}"
            ),
        );
    }
    let above = place(&facts.hba, line);
    warning(
        Code::SuperuserByCertificate,
        format!(
            "{here} may let a workload log in by its certificate as superuser {roles}: the role is what {name} captures from the \
             workload's name, and pgsvid cannot tell whether that can be {roles}"
        ),
        format!(
            "put `hostssl all,replication {} all reject` above {above}, then reload; or name each workload and its role in a line \
             of its own instead of {source}, {then}",
            word(&first.role)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;
    use crate::sql::SuperuserReason;

    #[test]
    fn a94_every_line_of_every_map_that_is_asked_is_looked_at() {
        let superusers = ["postgres", "svc"]
            .map(|role| Superuser { role: role.to_owned(), by: SuperuserReason::Attribute });
        let general = "hostssl all all all cert map=m";
        for (hba, ident, count, untold) in [
            (general, "m x app", 0, 0),
            (general, "m x postgres", 1, 0),
            (general, "m x postgres\nm y postgres\nm z app", 2, 0),
            (general, "other x postgres", 0, 0),
            (
                "hostssl all app all cert map=a\nhostssl all postgres all cert map=b",
                "a x postgres\nb y postgres",
                1,
                0,
            ),
            (general, "m x all", 1, 0),
            (general, "m x +dba", 0, 1),
            (general, "m x /^p", 0, 1),
            (general, r"m /^(.*)$ +\1", 0, 1),
            (general, r"m x \1", 0, 0),
            (general, r"m /^(.*)$ \1", 1, 0),
            (general, r"m /^(.*)$ app_\1", 0, 0),
            (general, r"m /^(.*)$ post\1", 1, 0),
            (general, r"m /^(app|web)[.]example$ \1", 0, 0),
            (general, r"m /^(postgres|web)[.]example$ \1", 1, 0),
            (general, r"m /^.*(web).*$ \1", 0, 0),
            ("hostssl all app all cert map=m", r"m /^(.*)$ \1", 0, 0),
            ("hostssl all +dba all cert map=m", r"m /^(.*)$ \1", 1, 0),
            ("hostnossl all all all reject\nhostssl all all all cert map=m", "m x svc", 1, 0),
            // The remedy, and lines that are not enough.
            (
                "hostssl all,replication postgres,svc all reject\nhostssl all all all cert map=m",
                r"m /^(.*)$ \1",
                0,
                0,
            ),
            (
                "hostssl all svc 0.0.0.0/0 reject\nhostssl all svc ::/0 reject\nhostssl all all all cert map=m",
                "m x svc",
                0,
                0,
            ),
            ("hostssl all svc 0.0.0.0/0 reject\nhostssl all all all cert map=m", "m x svc", 1, 0),
            ("hostssl db svc all reject\nhostssl all all all cert map=m", "m x svc", 1, 0),
            ("hostssl all +dba all reject\nhostssl all all all cert map=m", "m x svc", 1, 0),
        ] {
            let (concerns, lines) = mapped_superusers(&parsed(hba, ident), &superusers);
            assert_eq!((concerns.len(), lines.len()), (count, untold), "{hba} | {ident}");
        }
        let many = "m x postgres\n".repeat(50);
        let (concerns, _) = mapped_superusers(&parsed(general, &many), &superusers);
        assert_eq!(concerns.len(), MOST_LINES + 1);
    }

    #[test]
    fn a93_expressions_of_maps_that_clients_with_tls_meet_are_open() {
        let hba = "hostssl all all all cert map=m\nlocal all all peer map=users";
        for (ident, open) in [
            ("m x app", 0),
            ("m /^x[.]y$ app", 0),
            ("m /^x.y$ app", 1),
            ("m /^(.*)$ \\1", 1),
            ("users /^.*$ app", 0),
            ("other /^.*$ app", 0),
        ] {
            assert_eq!(open_mappings(&parsed(hba, ident)).len(), open, "{ident}");
        }
    }
}
