//! Whether pgsvid's user may be a superuser over the Unix socket, or its role become one: then anyone who takes over pgsvid may,
//! too. And whether workloads may.

use super::postgresql::Answers;
use crate::consumers::Server;
use crate::diagnose::{AccessFacts, SocketUser, mapped_superusers, named, superuser_logins};
use crate::doctor::finding::{Code, Finding};
use crate::doctor::words::listed;
use crate::sql::{MOST_SUPERUSERS, Might, Standing, statements};
use crate::text::argument;

pub(super) fn findings(answers: &Answers, facts: &AccessFacts) -> Vec<Finding> {
    let (uid, name) = answers.own_user.clone();
    let (superusers, more) = &answers.superusers;
    let expressions = answers.expressions.own.clone();
    let user = SocketUser { uid, name, expressions };
    let (mut findings, judged) = superuser_logins(facts, &user, superusers);
    let (mapped, untold) = mapped_superusers(facts, superusers);
    let name = user.name.unwrap_or_else(|| format!("uid {uid}"));
    if !judged {
        findings.push(
            Finding::skipped(Code::SuperuserOverSocket, format!(
                "whether pgsvid's user, {name}, may be a superuser over the socket: not all lines about it can be judged"
            ))
            .fix("run check where PostgreSQL runs, as its uid, or as a superuser: --user postgres"),
        );
    }
    if *more {
        findings.push(Finding::skipped(Code::SuperuserOverSocket, format!(
            "whether pgsvid's user, {name}, may be one of the superusers beyond the first {MOST_SUPERUSERS}"
        )));
    }
    if *more {
        findings.push(Finding::skipped(
            Code::SuperuserByCertificate,
            format!("whether {} lets workloads be one of these other superusers", facts.ident),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            Code::SuperuserOverSocket,
            format!(
                "pgsvid's user, {name}, is no superuser over the socket by {} and {}",
                facts.hba, facts.ident
            ),
        ));
    }
    findings.extend(mapped);
    if !untold.is_empty() {
        let lines = listed(&untold);
        findings.push(Finding::skipped(Code::SuperuserByCertificate, format!(
            "whether {} lets workloads be superusers in line {lines}: a group or an expression stands for the role there",
            facts.ident
        )));
    }
    findings
}

/// The role that pgsvid logs in as. A superuser was named by whoever runs `check`, to see everything.
pub(super) fn own_role(server: &Server, answers: &Answers) -> Option<Finding> {
    let Standing { role, superuser: false, .. } = &answers.standing else { return None };
    let found = answers.superusers.0.iter().find(|superuser| superuser.role == *role)?;
    let statement = match &found.by {
        Might::Membership(of) => {
            statements::revoke_membership(&of.role, role, of.granted_by.as_deref())
        }
        Might::CreateRole | Might::Attribute => {
            format!("ALTER ROLE {} NOCREATEROLE", statements::identifier(role))
        }
    };
    Some(
        Finding::warning(Code::OwnRoleSuperuser, format!(
            "role {} can make itself a superuser: anyone who takes over pgsvid has all rights in PostgreSQL",
            named(found)
        ))
        .fix(format!(
            "psql -U postgres -c {}{}; pgsvid setup apply --dry-run shows what else the role has",
            argument(statement),
            server.session.psql_options()
        )),
    )
}
