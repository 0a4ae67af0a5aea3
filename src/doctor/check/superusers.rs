//! Whether pgsvid's user may be a superuser over the Unix socket: then anyone who takes over pgsvid may, too.

use super::postgresql::Answers;
use crate::diagnose::{AccessFacts, SocketUser, superuser_logins};
use crate::doctor::finding::Finding;
use crate::sql::MOST_SUPERUSERS;

pub(super) fn findings(answers: &Answers, facts: &AccessFacts) -> Vec<Finding> {
    let (uid, name) = answers.own_user.clone();
    let (superusers, more) = &answers.superusers;
    let expressions = answers.expressions.own.clone();
    let user = SocketUser { uid, name, expressions };
    let (concerns, judged) = superuser_logins(facts, &user, superusers);
    let mut findings: Vec<Finding> = concerns.into_iter().map(Finding::from).collect();
    let name = user.name.unwrap_or_else(|| format!("uid {uid}"));
    if !judged {
        findings.push(
            Finding::skipped(format!(
                "whether pgsvid's user, {name}, may be a superuser over the socket: not all lines about it can be judged"
            ))
            .fix("run check where PostgreSQL runs, as its uid, or as a superuser: --user postgres"),
        );
    }
    if *more {
        findings.push(Finding::skipped(format!(
            "whether pgsvid's user, {name}, may be one of the superusers beyond the first {MOST_SUPERUSERS}"
        )));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!(
            "pgsvid's user, {name}, is no superuser over the socket by {} and {}",
            facts.hba, facts.ident
        )));
    }
    findings
}
