//! `[[roles]]`: whether PostgreSQL's files agree with the configuration.

use std::collections::BTreeSet;

use super::postgresql::Answers;
use crate::companions::role_map::{MAP, RoleMap, Workload, can_include};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{AccessFacts, MOST_DECIDERS, Password, is_decided};
use crate::doctor::finding::{Code, Finding, Severity};
use crate::sql::{self, Address, HbaRule, Line, Mapping, parse_ident, statements};
use crate::text::shown;

pub(super) fn findings(
    config: &Config,
    server: &Server,
    answers: Option<&Answers>,
    facts: &AccessFacts,
) -> Vec<Finding> {
    let map = &config.roles;
    if map.workloads.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if let Some(mappings) = &facts.mappings {
        let existing: BTreeSet<(&str, &str)> = mappings
            .iter()
            .map(|judged| &judged.mapping)
            .filter(|mapping| mapping.map == MAP)
            .map(|mapping| (mapping.system_user.as_str(), mapping.role.as_str()))
            .collect();
        let missing: Vec<&Workload> = map
            .workloads
            .iter()
            .filter(|one| !existing.contains(&(one.expression().as_str(), one.role.as_str())))
            .collect();
        findings.extend(missing_lines(config, answers, facts, &missing));
        findings.extend(lines_of_others(&config.roles, facts));
    }
    for role in map.roles() {
        if !facts.rules.iter().any(|rule| leads_to_map(rule, role, facts.complete)) {
            findings.push(
                Finding::failure(Code::RolesHbaLineMissing, format!(
                    "no line of {} uses the map {MAP} for role {role}",
                    facts.hba
                ))
                .fix(format!(
                    "put `hostssl all \"{role}\" all cert clientname=DN map={MAP}` above the general lines of {}, then \
                     reload; pgsvid setup hba prints all of them",
                    facts.hba
                )),
            );
        }
        findings.extend(above(facts, role));
        findings.extend(below(facts, role));
        findings.extend(in_the_clear(facts, role));
        findings.extend(answers.and_then(|answers| unusable(answers, role, &server.session)));
    }
    if findings.is_empty() && facts.is_certain() {
        findings.push(Finding::ok(
            Code::Roles,
            "the files let each workload of [[roles]] log in as its role",
        ));
    }
    findings
}

/// Lines of the map that neither `[[roles]]` nor `files.ident_lines` has: a workload that was removed keeps its role through
/// them.
fn lines_of_others(map: &RoleMap, facts: &AccessFacts) -> Option<Finding> {
    let entry = |mapping: &Mapping| (mapping.system_user.clone(), mapping.role.clone());
    let mut ours: BTreeSet<_> =
        map.workloads.iter().map(|one| (one.expression(), one.role.clone())).collect();
    ours.extend(map.lines.iter().flat_map(|line| parse_ident(line)).filter_map(
        |line| match line {
            Line::Entry(mapping) if mapping.map == MAP => Some(entry(&mapping)),
            _ => None,
        },
    ));
    let mappings = facts.mappings.iter().flatten().map(|judged| &judged.mapping);
    let mut others = mappings.filter(|found| found.map == MAP && !ours.contains(&entry(found)));
    let first = others.next()?;
    let more = match others.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let place = facts.ident.place(first);
    let text = format!(
        "{place} lets {} log in as role {}, but [[roles]] does not name it{more}",
        shown(&first.system_user),
        first.role
    );
    // pgsvid restores the line. Nobody else writes this file, so the workload was removed from [[roles]].
    if facts.ident.has_published(first) {
        let fix = format!(
            "restart pgsvid with this configuration: it still publishes the map of another one, and restores {place} when \
             somebody removes it; or add the workload to [[roles]], or the line to files.ident_lines"
        );
        return Some(Finding::failure(Code::RolesIdentLineExtra, text).fix(fix));
    }
    Some(Finding::warning(Code::RolesIdentLineExtra, text).fix(format!(
        "remove {place}, then reload; or add the workload to [[roles]], or the line to files.ident_lines"
    )))
}

fn missing_lines(
    config: &Config,
    answers: Option<&Answers>,
    facts: &AccessFacts,
    missing: &[&Workload],
) -> Option<Finding> {
    let first = missing.first()?;
    let finding = Finding::failure(
        Code::RolesIdentLineMissing,
        format!(
            "{} lacks {} of the {} lines of [[roles]]: {} cannot log in as role {}",
            facts.ident,
            missing.len(),
            config.roles.workloads.len(),
            first.spiffe_id,
            first.role
        ),
    );
    if facts.ident.publishes_itself() && config.ident.is_some() {
        return Some(finding.fix(format!(
            "restart pgsvid with this configuration: {} is the map that it publishes, and has the lines of another one",
            facts.ident
        )));
    }
    let Some(name) = &config.ident else {
        return Some(finding.fix("add what `pgsvid setup ident` prints, then reload"));
    };
    let map = config.place.readers_base().join(name);
    let map = map.display();
    let version = answers.map(|answers| answers.settings.version_number);
    let others = facts.mappings.iter().flatten().filter(|judged| judged.mapping.map != MAP).count();
    let before_16 = version.is_none_or(|version| !can_include(version));
    // With `ident_file` set to the published map, PostgreSQL would no longer read the lines of other maps.
    if before_16 && others > 0 {
        return Some(finding.fix(format!(
            "append what `pgsvid setup ident` prints to {}, then reload. Leave ident_file as it is: {} of other maps are in {0}, and \
             would have no effect with ident_file = '{map}' unless files.ident_lines has them",
            facts.ident,
            if others == 1 { "1 line".to_owned() } else { format!("{others} lines") }
        )));
    }
    Some(match version {
        Some(version) if !can_include(version) => {
            finding.fix(format!("set ident_file = '{map}' in postgresql.conf and restart PostgreSQL"))
        }
        Some(_) => finding.fix(format!("put `include_if_exists \"{map}\"` into {}, then reload", facts.ident)),
        None => finding.fix(format!(
            "from PostgreSQL 16 on put `include_if_exists \"{map}\"` into {}; before, set ident_file = '{map}' and \
             restart PostgreSQL",
            facts.ident
        )),
    })
}

/// Whether the line lets a certificate log in as the role if the map allows it. The view hides `clientname`.
fn leads_to_map(line: &HbaRule, role: &str, complete: bool) -> bool {
    line.method == "cert"
        && line.matches_tls()
        && line.map() == Some(MAP)
        && (!complete || line.option("clientname") == Some("DN"))
        && line.is_about(role) == Some(true)
}

/// A line of `pg_hba.conf` that lets clients log in as a role in a way that the configuration does not describe.
struct OtherLine<'a> {
    line: &'a HbaRule,
    severity: Severity,
    text: String,
    fix: String,
}

/// How many other lines a finding names.
const MOST_OTHERS: usize = 10;

/// A finding about the first of the lines in each severity, which names the others: a harmless line hides no other one.
fn worst(code: Code, facts: &AccessFacts, lines: &[OtherLine<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for severity in [Severity::Failure, Severity::Warning] {
        let mut of_severity = lines.iter().filter(|line| line.severity == severity);
        let Some(first) = of_severity.next() else { continue };
        let others: Vec<&HbaRule> = of_severity.map(|line| line.line).collect();
        let mut text = first.text.clone();
        if !others.is_empty() {
            let named: Vec<String> =
                others.iter().take(MOST_OTHERS).map(|line| place(facts, line)).collect();
            let more = match others.len().saturating_sub(MOST_OTHERS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            text = format!("{text}; the same is true for {}{more}", named.join(", "));
        }
        let finding = if severity == Severity::Failure {
            Finding::failure(code, text)
        } else {
            Finding::warning(code, text)
        };
        findings.push(finding.fix(first.fix.clone()));
    }
    findings
}

fn place(facts: &AccessFacts, line: &HbaRule) -> String {
    format!("{} line {}", line.file.as_deref().unwrap_or(&facts.hba), line.line)
}

/// Findings about lines above the one that uses the map that may let a client log in as the role in another way.
fn above(facts: &AccessFacts, role: &str) -> Vec<Finding> {
    let is_ours = |rule: &HbaRule| leads_to_map(rule, role, facts.complete);
    let Some(ours) = facts.rules.iter().position(is_ours) else { return Vec::new() };
    let others = facts.rules[..ours].iter().filter(|rule| {
        rule.matches_tls() && rule.method != "reject" && rule.is_about(role) != Some(false)
    });
    let mut first = None;
    let lines = others.map(|other| {
        let fix = print_above(facts, first.get_or_insert(other));
        if other.is_about(role).is_none() {
            let text = format!(
                "{} may decide about role {role} before the map {MAP} is used: it names a group or a regular expression, which \
                 pgsvid cannot evaluate",
                place(facts, other)
            );
            return OtherLine { line: other, severity: Severity::Warning, text, fix };
        }
        let text = other_way(facts, other, role, "above the line that uses");
        OtherLine { line: other, severity: Severity::Failure, text, fix }
    });
    worst(Code::RolesLineAbove, facts, &lines.collect::<Vec<_>>())
}

/// Findings about lines below the one that uses the map that let a client log in as the role by a certificate in another way:
/// for databases or addresses about which no line above them decides.
fn below(facts: &AccessFacts, role: &str) -> Vec<Finding> {
    let is_ours = |rule: &HbaRule| leads_to_map(rule, role, facts.complete);
    let Some(ours) = facts.rules.iter().position(is_ours) else { return Vec::new() };
    let mut earlier = Vec::new();
    let mut lines = Vec::new();
    for (number, rule) in facts.rules.iter().enumerate() {
        let is_about = rule.is_about(role);
        if is_about == Some(false) || !rule.matches_tls() {
            continue;
        }
        let is_other = rule.wants_certificate() && !is_ours(rule);
        if number > ours && is_other && !is_decided(rule, &earlier) {
            let mut text = other_way(facts, rule, role, "below the line that uses");
            if is_about.is_none() {
                text = format!(
                    "{text}, if role {role} is in its group, or matches its regular expression"
                );
            }
            // A role that may not replicate gains nothing by it.
            let for_replication = rule.databases.iter().all(|word| word == "replication");
            let fix = if for_replication {
                format!(
                    "put `hostssl replication \"{role}\" all reject` above line {} of {}, then reload",
                    rule.line,
                    rule.file.as_deref().unwrap_or(&facts.hba)
                )
            } else {
                print_above(facts, rule)
            };
            let severity = if is_about.is_some() && !for_replication {
                Severity::Failure
            } else {
                Severity::Warning
            };
            lines.push(OtherLine { line: rule, severity, text, fix });
        }
        if rule.decides_about(role) && earlier.len() < MOST_DECIDERS {
            earlier.push(rule);
        }
    }
    worst(Code::RolesLineBelow, facts, &lines)
}

fn print_above(facts: &AccessFacts, other: &HbaRule) -> String {
    format!(
        "put what `pgsvid setup hba` prints above line {} of {}, then reload",
        other.line,
        other.file.as_deref().unwrap_or(&facts.hba)
    )
}

fn other_way(facts: &AccessFacts, other: &HbaRule, role: &str, place: &str) -> String {
    let (file, line) = (other.file.as_deref().unwrap_or(&facts.hba), other.line);
    let way = if !other.wants_certificate() || other.lets_in_as_any_role() {
        format!("by {} alone, {place} certificates", other.method)
    } else {
        let asked = match other.map() {
            Some(MAP) => "by the CN of their certificate instead of its whole subject".to_owned(),
            Some(map) => format!("by the map {map}"),
            None => "by a certificate that has the role's name as its CN".to_owned(),
        };
        format!("{asked}, {place} the map {MAP}")
    };
    format!("{file} line {line} lets clients log in as role {role} {way}")
}

/// Findings about lines by which a client sends the role's password, or a proof of it, over a network without TLS. The first
/// line that matches decides.
fn in_the_clear(facts: &AccessFacts, role: &str) -> Vec<Finding> {
    let without_tls = |rule: &&HbaRule| {
        matches!(rule.kind.as_str(), "host" | "hostnossl" | "hostnogssenc")
            && rule.is_about(role) != Some(false)
    };
    // This line keeps out everybody whose password a later line would ask for.
    let rejects_all = |rule: &HbaRule| {
        rule.method == "reject"
            && rule.kind != "hostnogssenc"
            && rule.quotes_known
            && rule.address == Some(Address::All)
            && rule.databases.iter().any(|database| database == "all")
            && rule.is_about(role) == Some(true)
    };
    let asking = facts
        .rules
        .iter()
        .filter(without_tls)
        .take_while(|rule| !rejects_all(rule))
        .filter(|rule| !rule.address.as_ref().is_some_and(Address::is_local))
        .filter_map(|rule| Some((rule, Password::asked_by(rule)?)));
    let lines = asking.map(|(line, password)| {
        let place = place(facts, line);
        let text = format!(
            "{place} ({}) may ask role {role} of [[roles]] for a password without TLS: anyone on the network path can read {}",
            line.method,
            password.what()
        );
        let fix = format!(
            "write hostssl instead of {} in {place}, or put `hostnossl all \"{role}\" all reject` above it, then reload",
            line.kind
        );
        let severity = match password {
            Password::AsItIs => Severity::Failure,
            Password::Proof => Severity::Warning,
        };
        OtherLine { line, severity, text, fix }
    });
    worst(Code::HbaPasswordWithoutTls, facts, &lines.collect::<Vec<_>>())
}

fn unusable(answers: &Answers, role: &str, server: &sql::Settings) -> Option<Finding> {
    match answers.roles.get(role).map(|role| role.can_log_in) {
        Some(true) => None,
        Some(false) => Some(
            Finding::failure(
                Code::RoleWithoutLogin,
                format!("role {role} of [[roles]] may not log in"),
            )
            .command(server.psql(&statements::let_log_in(role))),
        ),
        None => Some(
            Finding::failure(Code::RoleMissing, format!("role {role} of [[roles]] does not exist"))
                .fix("create it, and grant it what it needs")
                .command(
                    server.psql(&format!("CREATE ROLE {} LOGIN", statements::identifier(role))),
                ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::role_map::Recognition;
    use crate::diagnose::{JudgedMapping, MapFile};

    #[test]
    fn b07_a_line_of_the_map_that_no_configuration_has_is_reported() {
        let workload = |cn: &str| Workload {
            spiffe_id: format!("spiffe://example.org/{cn}"),
            role: "app".to_owned(),
            by: Recognition::CommonName(cn.to_owned()),
        };
        let map = RoleMap {
            login: None,
            workloads: vec![workload("stays")],
            lines: vec!["spiffe CN=own app".to_owned()],
        };
        let found = |text: &str| {
            let mappings = parse_ident(text).into_iter().map(|line| match line {
                Line::Entry(mapping) => JudgedMapping { mapping, admits: Ok(None) },
                other => panic!("{other:?}"),
            });
            let facts = AccessFacts {
                hba: "pg_hba.conf".to_owned(),
                ident: MapFile { path: "pg_ident.conf".into(), published: Vec::new() },
                rules: Vec::new(),
                complete: true,
                mappings: Some(mappings.collect()),
                bad: Vec::new(),
                misread: Vec::new(),
                unclear: Vec::new(),
            };
            lines_of_others(&map, &facts).map(|found| (found.code, found.text))
        };
        let stays = map.workloads[0].line();
        let gone = workload("gone").line();
        assert_eq!(found(&format!("{stays}\nspiffe CN=own app\nother CN=x app\n")), None);
        let (code, text) = found(&format!("{stays}\n{gone}\n")).unwrap();
        assert_eq!(code, Code::RolesIdentLineExtra);
        assert!(text.contains("line 2 ") && text.contains("gone"), "{text}");
    }
}
