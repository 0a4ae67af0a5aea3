//! Lines of `cert` without a map: a certificate can be any role that its CN names, and so also a superuser (PostgreSQL:
//! `auth.c`, `CheckCertAuth`). A workload's first DNS name is its CN, and the author of its registration entry chooses it.

use super::access::{AccessFacts, place};
use super::naming::MOST_NAMED;
use super::order::{MOST_DECIDERS, MOST_RULES, is_decided};
use super::superuser::named;
use crate::sql::{HbaRule, Superuser, word};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// The lines by which a certificate whose CN is a superuser's name logs in as that superuser. `own` is the CN of the
/// published certificate.
#[must_use]
pub fn named_superusers(
    facts: &AccessFacts,
    superusers: &[Superuser],
    own: Option<&str>,
) -> Vec<Finding> {
    // Filtered once for all roles, because there may be a hundred thousand lines.
    let mut all = facts.rules.iter().filter(|line| line.matches_tls());
    let with_tls: Vec<&HbaRule> = all.by_ref().take(MOST_RULES).collect();
    let beyond = all.find(|line| goes_by_name(line));
    let mut lines: Vec<(&HbaRule, Vec<&Superuser>)> = Vec::new();
    for superuser in superusers {
        for line in admitting(&with_tls, &superuser.role) {
            match lines.iter_mut().find(|(known, _)| std::ptr::eq(*known, line)) {
                Some((_, roles)) => roles.push(superuser),
                None => lines.push((line, vec![superuser])),
            }
        }
    }
    let mut found: Vec<Finding> =
        lines.iter().map(|(line, roles)| concern(facts, line, roles, own)).collect();
    found.extend(beyond.map(|line| {
        let here = place(&facts.hba, line);
        Finding::skipped(
            Code::SuperuserByCertificate,
            format!(
                "pgsvid cannot tell whether {here} and those below it let a workload whose CN is a superuser's name log in as that superuser: only the \
                 first {MOST_RULES} lines for TLS are examined"
            ),
        )
        .fix(format!("move {here} further up, or write fewer lines, then check again"))
    }));
    found
}

/// The lines that decide about the role, and only require a certificate with the role's name.
fn admitting<'a>(with_tls: &[&'a HbaRule], role: &str) -> Vec<&'a HbaRule> {
    let mut earlier: Vec<&HbaRule> = Vec::new();
    let mut found = Vec::new();
    for line in with_tls.iter().copied() {
        let is_about = line.is_about(role);
        if is_about == Some(false) {
            continue;
        }
        if goes_by_name(line) && !is_decided(line, &earlier) {
            found.push(line);
        }
        if line.decides_about(role) && earlier.len() < MOST_DECIDERS {
            earlier.push(line);
        }
    }
    found
}

fn goes_by_name(line: &HbaRule) -> bool {
    let asks = line.method == "cert"
        || (line.method == "trust" && line.option("clientcert") == Some("verify-full"));
    asks && line.map().is_none() && line.option("clientname") != Some("DN")
}

fn concern(
    facts: &AccessFacts,
    line: &HbaRule,
    roles: &[&Superuser],
    own: Option<&str>,
) -> Finding {
    let here = place(&facts.hba, line);
    let first = roles.first().map_or("", |first| first.role.as_str());
    let more = roles.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let listed: Vec<String> = roles.iter().take(MOST_NAMED).map(|role| named(role)).collect();
    let listed = format!("{}{more}", listed.join(", "));
    let ours = own.filter(|own| roles.iter().any(|superuser| superuser.role == *own));
    let text = match ours {
        Some(own) => format!(
            "{here} lets the published certificate itself log in as superuser {}: its CN is the role's name, so anyone who has the \
             server's key has all rights in PostgreSQL",
            shown(own)
        ),
        None => format!(
            "{here} has no map, so a workload whose CN (its first DNS name) is a superuser's name logs in as that superuser: {listed}"
        ),
    };
    // The names that the line itself has are quoted where necessary.
    let role = word(ours.unwrap_or(first));
    Finding::warning(Code::SuperuserByCertificate, text).about(here.clone()).fix(format!(
        "in {here} write the roles that workloads may log in as instead of all, then reload; or, if no superuser may log in over TLS in any \
         way, put `hostssl all,replication {role} all reject` above it, then reload"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;
    use crate::sql::SuperuserReason;

    #[test]
    fn b20_a_line_without_a_map_lets_a_name_be_a_superuser() {
        let superusers = ["postgres", "svc"]
            .map(|role| Superuser { role: role.to_owned(), by: SuperuserReason::Attribute });
        for (hba, count) in [
            ("hostssl all all all cert", 1),
            ("hostssl all all all cert map=m", 0),
            ("hostssl all all all cert map=\"\"", 1),
            ("hostssl all all all trust clientcert=verify-full", 1),
            ("hostssl all all all scram-sha-256 clientcert=verify-full", 0),
            ("hostssl all app all cert", 0),
            ("hostssl all app,svc all cert", 1),
            ("hostssl all +dba all cert", 1),
            ("hostssl all,replication postgres,svc all reject\nhostssl all all all cert", 0),
            ("hostssl all,replication postgres all reject\nhostssl all all all cert", 1),
            (
                "hostssl all postgres,svc 0.0.0.0/0 reject\nhostssl all postgres,svc ::/0 reject\nhostssl all all all cert",
                0,
            ),
            ("hostssl app postgres,svc all reject\nhostssl all all all cert", 1),
            ("local all all peer\nhost all all all scram-sha-256", 0),
        ] {
            let facts = AccessFacts { mappings: None, ..parsed(hba, "") };
            let found = named_superusers(&facts, &superusers, Some("svc"));
            assert_eq!(found.len(), count, "{hba}: {found:#?}");
        }
    }

    #[test]
    fn b40_lines_beyond_the_limit_are_reported() {
        let superusers =
            [Superuser { role: "postgres".to_owned(), by: SuperuserReason::Attribute }];
        let many = "hostssl all visitor 10.0.0.1/32 reject\n".repeat(MOST_RULES);
        for (more, count) in
            [("", 0), ("hostssl all all all cert", 1), ("hostssl all all all cert map=m", 0)]
        {
            let hba = format!("{many}{more}");
            let facts = AccessFacts { mappings: None, ..parsed(&hba, "") };
            let found = named_superusers(&facts, &superusers, None);
            assert_eq!(found.len(), count, "{more}: {found:#?}");
        }
    }
}
