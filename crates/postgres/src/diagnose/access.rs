//! Which clients `pg_hba.conf` and `pg_ident.conf` let in over TLS: with which certificate and as which role, or without a
//! certificate.
//!
//! PostgreSQL: `hba.c`. The first line that matches connection type, database, user and address decides.

use std::collections::{BTreeMap, BTreeSet};

use super::loopback::Guarded;
use super::map_file::MapFile;
use super::order::{MOST_DECIDERS, compared, includes, is_decided, shadows};
use super::passwords::{in_the_clear, without_certificate};
use super::strangers::{SHARED, strangers};
use super::{failure, warning};
use crate::sql::{Address, BadLine, HbaRule, Mapping, first_parts, is_anchored};
use crate::survey::{ServerUnreadable, Unclear};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::{argument, shown};

/// A mapping, and the unintended name that it matches, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedMapping {
    /// The line.
    pub mapping: Mapping,
    /// The first name that it matches but that nobody intends: one of [`strangers`], or one similar to the intended names.
    /// `Err` if its regular expression could not be tried.
    pub admits: Result<Option<String>, ()>,
}

/// A place that PostgreSQL reads in another way than its text suggests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misread {
    /// A line with a NUL byte.
    Nul(String),
    /// A file in which PostgreSQL sees other lines than pgsvid.
    Otherwise(String),
    /// A file that PostgreSQL's user cannot read.
    ServerUnreadable(ServerUnreadable),
}

/// The facts about the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessFacts {
    /// `pg_hba.conf`, for messages.
    pub hba: String,
    /// `pg_ident.conf`
    pub ident: MapFile,
    /// The rules, in order.
    pub rules: Vec<HbaRule>,
    /// Whether the rules come from the files, and not from a view that hides `clientname=DN`.
    pub complete: bool,
    /// The mappings, if they can be read.
    pub mappings: Option<Vec<JudgedMapping>>,
    /// The lines that PostgreSQL reports as wrong, if it may be asked.
    pub bad: Vec<BadLine>,
    /// The places that it reads in another way than their text suggests.
    pub misread: Vec<Misread>,
    /// Lines that pgsvid does not understand, and that PostgreSQL has not reported as wrong.
    pub unclear: Vec<Unclear>,
}

impl AccessFacts {
    /// Whether pgsvid understands every line, in the same way as PostgreSQL. Otherwise it must not report that all is well.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.bad.is_empty() && self.misread.is_empty() && self.unclear.is_empty()
    }
}

/// The lines that let in clients they should not, or keep out clients they should let in. `guarded` are the roles that no
/// user of the machine may be without proof.
#[must_use]
pub fn access(facts: &AccessFacts, guarded: &Guarded<'_>) -> Vec<Finding> {
    let mut concerns: Vec<Finding> = facts.bad.iter().map(bad_line).collect();
    concerns.extend(facts.misread.iter().map(misread));
    concerns.extend(facts.unclear.iter().map(unclear));
    let mut rejects = Vec::new();
    for (index, rule) in facts.rules.iter().enumerate() {
        if rule.lets_in_as_any_role() {
            let open = guarded.open_by(&facts.rules, index);
            concerns.push(any_role(facts, rule, open.as_deref()));
        } else {
            concerns.extend(without_certificate(
                &place(&facts.hba, rule),
                rule,
                in_the_clear(rule, &rejects),
            ));
        }
        if rule.method == "reject" && rejects.len() < MOST_DECIDERS {
            rejects.push(rule);
        }
    }
    let compared = compared(&facts.rules);
    let known = facts.mappings.as_ref().map(|mappings| {
        mappings.iter().map(|judged| judged.mapping.map.as_str()).collect::<BTreeSet<_>>()
    });
    for (index, rule) in facts.rules.iter().enumerate() {
        if rule.wants_certificate() {
            if index < compared {
                concerns.extend(never_reached(facts, index, rule));
            }
            concerns.extend(unmapped(facts, known.as_ref(), rule));
        }
    }
    if !facts.rules.iter().any(|rule| rule.matches_tls() && rule.wants_certificate()) {
        concerns.push(warning(
            Code::HbaCertificateLineMissing,
            format!("{} has no line that lets clients in by their certificate", facts.hba),
            "if workloads are to log in: add `hostssl all ROLE all cert`, with the role of a workload for ROLE, above the lines that \
                 match the same clients, then reload"
                .to_owned(),
        ));
    }
    concerns.extend(maps(facts));
    concerns
}

/// Where a rule stands.
#[must_use]
pub(super) fn place(hba: &str, rule: &HbaRule) -> String {
    format!("{} line {}", rule.file.as_deref().unwrap_or(hba), rule.line)
}

fn bad_line(bad: &BadLine) -> Finding {
    failure(
        Code::HbaLineWrong,
        format!("{} line {} is wrong: {}", bad.file, bad.line, bad.error),
        format!(
            "fix line {} of {}, then reload: until then PostgreSQL keeps the rules it had, and cannot be \
             restarted with a wrong pg_hba.conf",
            bad.line, bad.file
        ),
    )
}

fn unclear(unclear: &Unclear) -> Finding {
    let name = unclear.file.file_name().unwrap_or(unclear.file.as_os_str()).to_string_lossy();
    let place = format!("{} line {}", shown(&name), unclear.line);
    failure(
        Code::HbaLineUnclear,
        format!(
            "{place} cannot be judged: {}. Such a line may let in anyone, or keep PostgreSQL from reading {} at all",
            unclear.why, unclear.of
        ),
        format!(
            "correct {place}, then reload; as a superuser (--user postgres) check shows how PostgreSQL reads it"
        ),
    )
}

/// The finding about a place that PostgreSQL reads in another way than its text suggests.
#[must_use]
pub fn misread(place: &Misread) -> Finding {
    match place {
        Misread::Nul(place) => failure(
            Code::HbaNulByte,
            format!(
                "{place} has a NUL byte: PostgreSQL ignores the rest of the line, and reads the next line as a part of it"
            ),
            format!("remove the byte from {place} with an editor that shows it, then reload"),
        ),
        Misread::ServerUnreadable(server_unreadable @ ServerUnreadable { path, uid, .. }) => {
            failure(
                Code::HbaUnreadableForServer,
                format!(
                    "PostgreSQL (uid {uid}) cannot read {}: it keeps what it read before, or uses nothing of this file, and may \
                 not start again",
                    path.display()
                ),
                readable(server_unreadable),
            )
        }
        Misread::Otherwise(place) => failure(
            Code::HbaReadOtherwise,
            format!(
                "PostgreSQL reads {place} in another way than pgsvid, or the file has just been changed"
            ),
            format!(
                "check again; if it stays, see what pg_hba_file_rules has there, and write {place} in a plainer way"
            ),
        ),
    }
}

/// The command that gives PostgreSQL's user access to a file. There is none for a file that does not certainly belong to the
/// server: it may be another user's secret, which the author of the line wants to read.
fn readable(
    ServerUnreadable { at, is_directory, uid, owner, is_own, .. }: &ServerUnreadable,
) -> String {
    let here = argument(at);
    match (is_directory, is_own) {
        (_, false) => format!(
            "see why a line names a file there: {} belongs to uid {owner}, not to PostgreSQL. If PostgreSQL needs the \
             contents, put them into a file of PostgreSQL's user beside pg_hba.conf, name that file, then reload",
            at.display()
        ),
        (true, true) => format!("as root: setpriv --reuid={uid} chmod u+x {here}, then reload"),
        (false, true) if owner == uid => {
            format!("as root: setpriv --reuid={uid} chmod u+r {here}, then reload")
        }
        (false, true) => format!(
            "as root: chown -h {uid} {here} && setpriv --reuid={uid} chmod u+r {here}, then reload"
        ),
    }
}

/// The finding about a line by which clients can log in as any role. `open` names the guarded role that each user of this machine
/// can be by it, if there is one.
fn any_role(facts: &AccessFacts, rule: &HbaRule, open: Option<&str>) -> Finding {
    let place = place(&facts.hba, rule);
    let local = rule.address.as_ref().is_some_and(Address::is_local);
    let method = &rule.method;
    let from = if rule.wants_certificate() {
        "every workload that has a certificate"
    } else if method == "ident" {
        "anyone who controls a machine that the line names"
    } else {
        "anyone who can reach the port from there"
    };
    let tls = if rule.matches_tls() { "" } else { ", without TLS" };
    let text = match open {
        Some(open) => format!(
            "{place} has the method {method}: by this machine's own addresses every user of it logs in without any proof as {open}"
        ),
        None => format!("{place} has the method {method}: {from} can log in as any role{tls}"),
    };
    let fix = if rule.wants_certificate() {
        format!("write cert instead of {method} in {place}, or clientcert=verify-full, then reload")
    } else {
        format!(
            "replace {method} by cert and {} by hostssl in {place}, or remove the line, then reload",
            rule.kind
        )
    };
    // Nobody writes clientcert by accident.
    if local && open.is_none() && !rule.wants_certificate() {
        warning(Code::HbaAnyRole, text, fix)
    } else {
        failure(Code::HbaAnyRole, text, fix)
    }
}

/// The finding about a line that is never reached, because earlier lines match all that it matches.
fn never_reached(facts: &AccessFacts, index: usize, rule: &HbaRule) -> Option<Finding> {
    let here = place(&facts.hba, rule);
    let above = &facts.rules[..index];
    let (text, first) = if let Some(earlier) = above.iter().find(|earlier| shadows(earlier, rule)) {
        let earlier = place(&facts.hba, earlier);
        (format!("{here} is never reached: {earlier} matches the same clients first"), earlier)
    } else {
        let about = |earlier: &&HbaRule| includes(earlier, &earlier.users, &rule.users);
        let earlier: Vec<&HbaRule> = above.iter().filter(about).take(MOST_DECIDERS).collect();
        let first = place(&facts.hba, earlier.first()?);
        if !is_decided(rule, &earlier) {
            return None;
        }
        let text = format!(
            "{here} is never reached: lines from {first} on together match the same clients first"
        );
        (text, first)
    };
    Some(failure(
        Code::HbaLineNeverReached,
        text,
        format!("move {here} above {first}, then reload: the first line that matches decides"),
    ))
}

/// The finding about a line whose map has no line in `pg_ident.conf`, or that compares the whole subject with the role's name,
/// because it has `clientname=DN` and no map.
fn unmapped(
    facts: &AccessFacts,
    known: Option<&BTreeSet<&str>>,
    rule: &HbaRule,
) -> Option<Finding> {
    let place = place(&facts.hba, rule);
    let Some(map) = rule.map() else {
        return (rule.option("clientname") == Some("DN")).then(|| {
            warning(
                Code::HbaDnWithoutMap,
                format!(
                    "{place} compares the whole subject with the role's name, because it has no map"
                ),
                format!(
                    "{}; then add map=spiffe to {place}, and reload",
                    facts.ident.add(&["spiffe \"<subject>\" <role>"])
                ),
            )
        });
    };
    (!known?.contains(map)).then(|| {
        failure(
            Code::IdentMapMissing,
            format!(
                "{place} uses the map {map}, which has no line in {}: nobody can log in through it",
                facts.ident
            ),
            format!("{}, then reload", facts.ident.add(&[&format!("{map} \"<subject>\" <role>")])),
        )
    })
}

fn maps(facts: &AccessFacts) -> Vec<Finding> {
    let mut used = BTreeMap::new();
    for rule in &facts.rules {
        if let Some(map) = rule.map() {
            let mapped_by = if rule.wants_certificate() {
                Some(MappedBy::Workloads)
            } else {
                (rule.method == "peer").then_some(MappedBy::Users)
            };
            used.extend(mapped_by.map(|mapped_by| (map, mapped_by)));
        }
    }
    let strangers = strangers();
    let judged = facts.mappings.iter().flatten();
    judged
        .filter_map(|judged| {
            map(facts, judged, *used.get(judged.mapping.map.as_str())?, &strangers)
        })
        .collect()
}

/// The names that a map contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MappedBy {
    Workloads,
    /// Users of the machine, by `peer`.
    Users,
}

fn map(
    facts: &AccessFacts,
    judged: &JudgedMapping,
    mapped_by: MappedBy,
    strangers: &[String],
) -> Option<Finding> {
    let JudgedMapping { mapping, admits } = judged;
    let (place, source) = (facts.ident.place(mapping), facts.ident.source(mapping));
    let then = facts.ident.then(mapping);
    let Mapping { role, map, .. } = mapping;
    let stranger = admits.as_ref().ok().and_then(Option::as_ref);
    // `\1` lets in everybody as the role that their own name contains: `cert` and `peer` do that without a map. Where `\1`
    // stands for the same text in all names, it lets in everybody as one role.
    let by_name = |expression: &str| role.contains("\\1") && first_parts(expression).is_none();
    let everybody = stranger
        .filter(|name| strangers.contains(name))
        .filter(|_| !mapping.system_user.strip_prefix('/').is_some_and(by_name));
    if let Some(stranger) = everybody {
        let (everybody, name) = match mapped_by {
            MappedBy::Workloads if stranger == SHARED => (
                "every workload without a DNS name",
                "name one workload in it: `MAP \"x500UniqueIdentifier=<32 hex>,…,O=SPIRE,C=US\" ROLE`",
            ),
            MappedBy::Workloads => (
                "every workload",
                "name one workload in it: `MAP \"x500UniqueIdentifier=<32 hex>,…,O=SPIRE,C=US\" ROLE`",
            ),
            MappedBy::Users => {
                ("every user of this machine", "name one user in it: `MAP <user> ROLE`")
            }
        };
        return Some(failure(
            Code::IdentMapAdmitsAll,
            format!("{place} admits {everybody} as role {role}: it matches {stranger}"),
            format!("{source}: {}, {then}", name.replace("MAP", map).replace("ROLE", role)),
        ));
    }
    let expression = mapping.system_user.strip_prefix('/')?;
    let other = stranger.filter(|name| !strangers.contains(name));
    if is_anchored(expression) && other.is_none() {
        return None;
    }
    let example = other.map(|other| format!(", such as {other}")).unwrap_or_default();
    Some(warning(
        Code::IdentExpressionLoose,
        format!(
            "{place}: the regular expression is not anchored as a whole, or has a dot for any letter, so it matches other names, \
             too{example}"
        ),
        format!(
            "write `/^…$` in {source}, each alternative in a line of its own and [.] for a dot, {then}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;
    use pgsvid_base::finding::Severity;

    const UNGUARDED: Guarded<'_> =
        Guarded { roles: &[], superusers: &[], own: None, listens: true };

    fn facts(hba: &str, mappings: &[(&str, &str, &str, Option<&str>)]) -> AccessFacts {
        let judged = |(map, user, role, admits): &(&str, &str, &str, Option<&str>)| {
            let mapping = Mapping {
                line: 1,
                file: None,
                map: (*map).to_owned(),
                system_user: (*user).to_owned(),
                role: (*role).to_owned(),
            };
            JudgedMapping { mapping, admits: Ok(admits.map(str::to_owned)) }
        };
        let mappings = Some(mappings.iter().map(judged).collect());
        AccessFacts { mappings, ..parsed(hba, "") }
    }

    #[test]
    fn lines_are_judged() {
        for (hba, failures, warnings) in [
            ("local all all trust\nhostssl all all all cert", 0, 0),
            ("hostssl all all all cert\nhost all all all reject", 0, 0),
            ("hostssl all all all cert\nhost all all 127.0.0.1/32 trust", 0, 1),
            ("hostssl all all all cert\nhost all all all trust", 1, 0),
            ("hostssl all all all scram-sha-256 clientcert=verify-full", 0, 0),
            ("hostssl all all all scram-sha-256", 0, 2),
            // The first line lets clients in without a certificate, and hides the `cert` line below it.
            ("host all all all scram-sha-256\nhostssl all all all cert", 1, 1),
            ("hostssl app all 10.0.0.0/8 reject\nhostssl all all all cert", 0, 0),
            ("hostnossl all all all reject\nhostssl all all all cert", 0, 0),
            // Passwords without TLS.
            ("hostssl all all all cert\nhostnossl all all 0.0.0.0/0 password", 0, 1),
            ("hostssl all all all cert\nhostnossl all people 10.0.0.0/8 md5", 0, 1),
            ("hostssl all all all cert\nhostnossl all all ::1/128 password", 0, 0),
            ("hostssl all all all cert\nhostnossl all all all gss", 0, 0),
            (
                "hostnossl all all all reject\nhostssl all all all cert\nhostnossl all a all md5",
                0,
                0,
            ),
            ("hostnossl all b all reject\nhostssl all all all cert\nhostnossl all a all md5", 0, 1),
            ("hostssl all all all reject\nhostssl replication all all cert", 0, 0),
        ] {
            let found = access(&facts(hba, &[]), &UNGUARDED);
            let count = |severity| found.iter().filter(|found| found.severity == severity).count();
            assert_eq!(
                (count(Severity::Failure), count(Severity::Warning)),
                (failures, warnings),
                "{hba}: {found:#?}"
            );
        }
    }

    #[test]
    fn b19_lines_that_reject_all_together_leave_a_line_unreached() {
        for (hba, count) in [
            (
                "host all all 0.0.0.0/0 reject\nhost all all ::/0 reject\nhostssl all all all cert",
                1,
            ),
            ("host all all 0.0.0.0/0 reject\nhostssl all all all cert", 0),
            (
                "host all all 0.0.0.0/1 reject\nhost all all 128.0.0.0/1 reject\nhostssl all all 0.0.0.0/0 cert",
                1,
            ),
            (
                "host all all 0.0.0.0/1 reject\nhost all all 128.0.0.0/2 reject\nhostssl all all 0.0.0.0/0 cert",
                0,
            ),
            ("host db all 0.0.0.0/0 reject\nhost all all ::/0 reject\nhostssl all all all cert", 0),
            (
                "hostnossl all all 0.0.0.0/0 reject\nhost all all ::/0 reject\nhostssl all all all cert",
                0,
            ),
        ] {
            let found = access(&facts(hba, &[]), &UNGUARDED);
            let unreached = found.iter().filter(|found| found.code == Code::HbaLineNeverReached);
            assert_eq!(unreached.count(), count, "{hba}: {found:#?}");
        }
    }

    #[test]
    fn maps_are_judged() {
        let hba = "hostssl all all all cert clientname=DN map=m";
        for (user, role, admits, found) in [
            ("x500UniqueIdentifier=05,O=SPIRE,C=US", "app", None, None),
            ("O=SPIRE,C=US", "app", Some(SHARED), Some(Code::IdentMapAdmitsAll)),
            ("/^.*$", "app", Some("stranger"), Some(Code::IdentMapAdmitsAll)),
            ("/CN=app", "app", None, Some(Code::IdentExpressionLoose)),
            ("/^CN=app|CN=b$", "app", None, Some(Code::IdentExpressionLoose)),
            ("/^CN=a.b$", "app", Some("CN=axb"), Some(Code::IdentExpressionLoose)),
            ("/^CN=app,O=SPIRE,C=US$", "app", None, None),
            ("/^(.*)$", "\\1", Some(SHARED), None),
            ("/CN=(.*)$", "\\1", Some("stranger"), Some(Code::IdentExpressionLoose)),
        ] {
            let concerns = access(&facts(hba, &[("m", user, role, admits)]), &UNGUARDED);
            assert_eq!(
                concerns.first().map(|concern| concern.code),
                found,
                "{user}: {concerns:#?}"
            );
        }
    }
}
