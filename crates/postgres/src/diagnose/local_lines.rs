//! Lines for the Unix socket that let users of the machine log in as a role that is not theirs: one of `[[roles]]`, a
//! superuser, or one that may replicate. A line that names the user explicitly counts as intended.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{AccessFacts, place};
use super::maps::{Lets, lets};
use super::naming::names;
use super::order::MOST_RULES;
use super::superuser::{is_open, is_reached};
use super::{failure, warning};
use crate::sql::{HbaRule, Mapping, Superuser, first_parts, is_exact, word};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// How many lines are reported.
const MOST_LINES: usize = 20;
/// Expressions that take the whole name as the role: `peer` does the same without a map.
const SAME_NAME: [&str; 4] = ["^(.*)$", "^(.+)$", "(.*)", "(.+)"];
/// The word for replication connections, among databases.
const REPLICATION: &str = "replication";

/// A role, and the databases for which an earlier line has decided about it.
struct Judged<'a> {
    role: &'a str,
    is_superuser: bool,
    decided: BTreeSet<&'a str>,
}

/// The roles that other users of the machine can log in as over the socket. `roles` are those of `[[roles]]`; `own` is the one that
/// pgsvid logs in as.
#[must_use]
pub fn local_logins<'a>(
    facts: &'a AccessFacts,
    roles: &[&'a str],
    superusers: &'a [Superuser],
    own: &'a str,
) -> Vec<Finding> {
    let mut search = Search {
        facts,
        own,
        open: open_mappings(facts),
        reported: BTreeSet::new(),
        findings: Vec::new(),
        replication_decided: false,
    };
    let superusers = superusers.iter().map(|superuser| (superuser.role.as_str(), true));
    let mut judged: Vec<Judged<'_>> = superusers
        .chain(roles.iter().chain(std::iter::once(&own)).map(|role| (*role, false)))
        .map(|(role, is_superuser)| Judged { role, is_superuser, decided: BTreeSet::new() })
        .collect();
    let mut local = facts.rules.iter().filter(|line| line.kind == "local");
    for line in local.by_ref().take(MOST_RULES) {
        search.look_at(line, &judged);
        for one in &mut judged {
            if line.decides_about(one.role) {
                one.decided.extend(line.decided_databases());
            }
        }
        search.replication_decided |=
            line.quotes_known && is_for_replication(line) && names_all(line);
    }
    let beyond = local.next().map(|line| {
        let here = place(&facts.hba, line);
        Finding::skipped(
            Code::OthersOverSocket,
            format!(
                "pgsvid cannot tell whether {here} and those below it let other users of this machine log in over the socket: only the first \
                 {MOST_RULES} lines for it are examined"
            ),
        )
        .fix(format!("move {here} further up, or write fewer lines, then check again"))
    });
    let mut findings = search.findings;
    let more = findings.len().saturating_sub(MOST_LINES);
    findings.truncate(MOST_LINES);
    if more > 0 {
        findings.push(warning(
            Code::OthersOverSocket,
            format!(
                "{more} more lines of {} and {} let other users of this machine log in over the socket as other roles",
                facts.hba, facts.ident
            ),
            "correct the lines named here, then check again".to_owned(),
        ));
    }
    findings.extend(beyond);
    findings
}

/// For each map: the mappings whose names cannot be listed, and that have no finding of their own.
fn open_mappings(facts: &AccessFacts) -> BTreeMap<&str, Vec<&Mapping>> {
    let mut open: BTreeMap<&str, Vec<&Mapping>> = BTreeMap::new();
    for judged in facts.mappings.iter().flatten() {
        let mapping = &judged.mapping;
        let Some(expression) = mapping.system_user.strip_prefix('/') else { continue };
        let is_same_name = SAME_NAME.contains(&expression) && mapping.role == "\\1";
        let admits_everybody = matches!(judged.admits, Ok(Some(_)));
        if !is_same_name && !admits_everybody && !is_exact(expression) {
            open.entry(&mapping.map).or_default().push(mapping);
        }
    }
    open
}

fn is_for_replication(line: &HbaRule) -> bool {
    line.databases.iter().any(|word| word == REPLICATION)
}

fn names_all(line: &HbaRule) -> bool {
    line.users.iter().any(|word| word == "all")
}

/// The lines that were examined so far, and the findings about them.
struct Search<'a> {
    facts: &'a AccessFacts,
    /// The role that pgsvid logs in as.
    own: &'a str,
    open: BTreeMap<&'a str, Vec<&'a Mapping>>,
    /// Lines of `pg_ident.conf` that were reported.
    reported: BTreeSet<u32>,
    findings: Vec<Finding>,
    /// Whether an earlier line decides about all replication connections.
    replication_decided: bool,
}

impl<'a> Search<'a> {
    fn look_at(&mut self, line: &'a HbaRule, judged: &[Judged<'a>]) {
        let reached: Vec<&Judged<'_>> = judged
            .iter()
            .filter(|one| line.is_about(one.role) != Some(false) && is_reached(line, &one.decided))
            .collect();
        match (line.method.as_str(), line.map()) {
            ("trust", _) => self.trusting(line, &reached),
            ("peer", Some(map)) => {
                for mapping in self.open.get(map).cloned().unwrap_or_default() {
                    self.mapping(line, mapping, &reached);
                }
            }
            _ => {}
        }
    }

    fn trusting(&mut self, line: &HbaRule, reached: &[&Judged<'_>]) {
        // pgsvid's user is one of those who can be that superuser; another finding reports that about this line.
        if reached.iter().any(|one| one.is_superuser) {
            return;
        }
        let here = place(&self.facts.hba, line);
        // pgsvid's own role may not replicate.
        let logs_in = |one: &&&Judged<'_>| {
            let mut databases = line.databases.iter().filter(|word| *word != REPLICATION);
            one.role != self.own || databases.any(|word| is_open(word, &one.decided))
        };
        let reached: Vec<&Judged<'_>> = reached.iter().filter(logs_in).copied().collect();
        // A group may not have the role as a member.
        let is_sure = reached.iter().any(|one| line.is_about(one.role) == Some(true));
        let reached: Vec<&str> = reached.iter().map(|one| one.role).collect();
        let what = if !reached.is_empty() {
            self.roles(reached)
        } else if is_for_replication(line) && !self.replication_decided {
            format!(
                "a role that may replicate, and so read all data: {}",
                names(line.users.iter().map(String::as_str))
            )
        } else {
            return;
        };
        let text = format!(
            "{here} says trust: over the socket every user of this machine logs in without any proof as {what}"
        );
        let fix = format!(
            "write peer instead of trust in {here}, with a map where the user has another name than the role, then reload"
        );
        let found = if is_sure { failure } else { warning };
        self.findings.push(found(Code::OthersOverSocket, text, fix).about(here));
    }

    /// Those of `[[roles]]`, or pgsvid's own.
    fn roles(&self, roles: impl IntoIterator<Item = &'a str>) -> String {
        let (own, workloads): (Vec<&str>, Vec<&str>) =
            roles.into_iter().partition(|role| *role == self.own);
        if workloads.is_empty() {
            format!(
                "role {}, with which pgsvid reloads PostgreSQL: such a user can reload it, too, and can use up the role's connections",
                names(own)
            )
        } else {
            format!("role {} of [[roles]]", names(workloads))
        }
    }

    fn mapping(&mut self, line: &HbaRule, mapping: &Mapping, reached: &[&Judged<'_>]) {
        let parts = mapping.system_user.strip_prefix('/').map(first_parts);
        let found = |is_superuser: bool| {
            let of_kind = reached.iter().filter(|one| one.is_superuser == is_superuser);
            let let_in = of_kind.filter_map(|one| {
                let lets = lets(mapping, parts.as_ref(), one.role)?;
                (lets != Lets::Unknown).then_some(one.role)
            });
            let_in.collect::<Vec<_>>()
        };
        let (superusers, roles) = (found(true), found(false));
        let what = if !superusers.is_empty() {
            format!("superuser {}, and so have all rights in PostgreSQL", names(superusers))
        } else if !roles.is_empty() {
            self.roles(roles)
        } else if is_for_replication(line) && !self.replication_decided {
            format!("role {}, and replicate if it may", shown(&mapping.role))
        } else {
            return;
        };
        if !self.reported.insert(mapping.line) {
            return;
        }
        let ident = &self.facts.ident;
        let mapping_place = ident.place(mapping);
        self.findings.push(
            warning(
                Code::OthersOverSocket,
                format!(
                    "{mapping_place} lets each user of this machine whose name {} matches log in over the socket (by {}) as {what}",
                    shown(&mapping.system_user),
                    place(&self.facts.hba, line)
                ),
                format!(
                    "name each user in a line of its own instead of {}, such as `{} root {}`, {}",
                    ident.source(mapping),
                    word(&mapping.map),
                    word(&mapping.role),
                    ident.then(mapping)
                ),
            )
            .about(mapping_place),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;
    use crate::sql::SuperuserReason;

    fn found(hba: &str, ident: &str) -> Vec<Finding> {
        let facts = parsed(hba, ident);
        let superusers =
            [Superuser { role: "postgres".to_owned(), by: SuperuserReason::Attribute }];
        local_logins(&facts, &["app"], &superusers, "pgsvid")
    }

    #[test]
    fn b37_ways_in_over_the_socket_are_reported_and_stock_lines_are_not() {
        let expression = "m /^[a-z]*ory$ postgres";
        for (hba, ident, count) in [
            // As Debian, initdb, and pgsvid's own remedies write them.
            ("local all postgres peer\nlocal all all peer\nlocal replication all peer", "", 0),
            ("local all,replication postgres peer map=superuser", "superuser root postgres", 0),
            ("local postgres pgsvid peer map=pgsvid", "pgsvid svc pgsvid", 0),
            ("local all all scram-sha-256\nlocal replication all md5", "", 0),
            // The finding about pgsvid's user is enough.
            ("local all all trust\nlocal replication all trust", "", 0),
            ("local all app trust", "", 1),
            ("local all app,other trust", "", 1),
            ("local all other trust", "", 0),
            ("local all +group trust", "", 0),
            ("local postgres pgsvid trust", "", 1),
            ("local all postgres peer\nlocal all all trust", "", 1),
            ("local all postgres,app peer\nlocal all all trust", "", 1),
            ("local all postgres,app,pgsvid peer\nlocal all all trust", "", 0),
            ("local all pgsvid peer\nlocal postgres pgsvid trust", "", 0),
            ("local postgres pgsvid peer map=m", "m /^a.*$ pgsvid", 1),
            ("local all app peer\nlocal all app trust", "", 0),
            ("local db app peer\nlocal all app trust", "", 1),
            ("local all all peer\nlocal replication pgsvid,other trust", "", 1),
            ("local replication repl trust", "", 1),
            ("local replication all peer\nlocal replication repl trust", "", 0),
            ("local db,replication repl trust", "", 1),
            ("local all all peer map=m", expression, 1),
            ("local all all peer map=m\nlocal replication all peer map=m", expression, 1),
            ("local all all ident map=m", expression, 1),
            ("local all all peer map=other", expression, 0),
            ("local all postgres reject\nlocal all all peer map=m", expression, 0),
            ("local all all peer map=m", "m /^[a-z]*ory$ app", 1),
            ("local all all peer map=m", "m /^[a-z]*ory$ other", 0),
            ("local replication all peer map=m", "m /^[a-z]*ory$ repl", 1),
            ("local all all peer map=m", "m mallory postgres", 0),
            ("local all all peer map=m", "m /^(root|admin)$ postgres", 0),
            ("local all all peer map=m", r"m /^(.*)$ \1", 0),
            ("local all all peer map=m", r"m /^(.*)-admin$ \1", 1),
            ("local all all peer map=m", "m /^a.*$ all", 1),
        ] {
            let found = found(hba, ident);
            assert_eq!(found.len(), count, "{hba} | {ident}: {found:#?}");
        }
    }

    #[test]
    fn b37_a_limit_that_is_reached_is_reported() {
        let many = "local db other peer\n".repeat(MOST_RULES);
        assert_eq!(found(&many, "").len(), 0);
        let found = found(&format!("{many}local all app trust"), "");
        assert!(
            matches!(&found[..], [one] if one.severity == pgsvid_base::finding::Severity::Skipped)
        );
    }
}
