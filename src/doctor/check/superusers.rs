//! Whether pgsvid's user can log in as a superuser over the Unix socket, or its role can become one: then anyone who takes
//! over pgsvid can, too. And whether workloads can.

use super::postgresql::Answers;
use crate::consumers::Server;
use crate::diagnose::{
    AccessFacts, SocketUser, mapped_superusers, named, named_superusers, superuser_logins,
};
use crate::doctor::finding::{Code, Finding};
use crate::doctor::words::listed;
use crate::material::Material;
use crate::sql::{self, MOST_SUPERUSERS, RoleRights, Superuser, SuperuserReason, statements};
use crate::text::shown;

const AS_SUPERUSER: &str = "run check as a superuser: --user postgres";

pub(super) fn findings(
    session: &sql::Settings,
    answers: &Answers,
    facts: &AccessFacts,
    on_disk: Option<&Material>,
) -> Vec<Finding> {
    let (uid, name) = answers.own_user.clone();
    let superusers = answers.known_superusers();
    let more = matches!(answers.superusers, Ok((_, true)));
    let expressions = answers.expressions.own.clone();
    let login = Some((session.user.clone(), session.database.clone()));
    let user = SocketUser { uid, name, login, expressions };
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
    if let Err(error) = &answers.superusers {
        let text = format!(
            "whether pgsvid's user, {name}, may be a superuser over the socket: the roles that can do everything are unknown"
        );
        findings
            .push(Finding::skipped(Code::SuperuserOverSocket, text).cause(error).fix(AS_SUPERUSER));
        let text = format!("whether {} lets workloads log in as superusers", facts.ident);
        findings.push(
            Finding::skipped(Code::SuperuserByCertificate, text).cause(error).fix(AS_SUPERUSER),
        );
    }
    if more {
        findings.push(Finding::skipped(Code::SuperuserOverSocket, format!(
            "whether pgsvid's user, {name}, may be one of the superusers beyond the first {MOST_SUPERUSERS}"
        )));
    }
    if more {
        findings.push(Finding::skipped(
            Code::SuperuserByCertificate,
            format!(
                "whether {} lets workloads log in as one of these other superusers",
                facts.ident
            ),
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
    let own = on_disk.and_then(|material| material.leaf().common_name());
    findings.extend(named_superusers(facts, superusers, own.as_deref()));
    if !untold.is_empty() {
        let lines = listed(&untold);
        findings.push(Finding::skipped(Code::SuperuserByCertificate, format!(
            "whether {} lets workloads log in as superusers in line {lines}: the role there is a group or an expression",
            facts.ident
        )));
    }
    findings
}

/// The warning if pgsvid's role can make itself a superuser, and what it cannot see about that. Nothing if it is one already,
/// because then the person who runs `check` has named a superuser to see everything.
pub(super) fn own_role(server: &Server, answers: &Answers) -> Vec<Finding> {
    let RoleRights { role, superuser: false, .. } = &answers.standing else { return Vec::new() };
    let mut known = answers.known_superusers().iter();
    if let Some(found) = known.find(|superuser| superuser.role == *role) {
        return vec![can_become_one(server, role, found)];
    }
    let hidden = match (&answers.superusers, &answers.hidden_mappings) {
        (Err(error), _) | (_, Err(error)) => {
            let text = format!("whether role {} can make itself a superuser", shown(role));
            let skipped = Finding::skipped(Code::OwnRoleSuperuser, text);
            return vec![skipped.cause(error).fix(AS_SUPERUSER)];
        }
        (Ok(_), Ok(hidden)) => hidden,
    };
    if hidden.is_empty() {
        return Vec::new();
    }
    let servers: Vec<String> = hidden.iter().map(|name| shown(name)).collect();
    let text = format!(
        "whether a user mapping lets role {} log in as a superuser, by foreign server {}: its options are hidden from this role",
        shown(role),
        servers.join(", ")
    );
    vec![Finding::skipped(Code::OwnRoleSuperuser, text).fix(AS_SUPERUSER)]
}

fn can_become_one(server: &Server, role: &str, found: &Superuser) -> Finding {
    let statement = match &found.by {
        SuperuserReason::Membership(of) => {
            statements::revoke_membership(&of.role, role, of.granted_by.as_deref())
        }
        SuperuserReason::Grant(grant) => grant.revoke.clone(),
        SuperuserReason::Replication => {
            format!("ALTER ROLE {} NOREPLICATION", statements::identifier(role))
        }
        SuperuserReason::CreateRole | SuperuserReason::Attribute => {
            format!("ALTER ROLE {} NOCREATEROLE", statements::identifier(role))
        }
    };
    let command = match &found.by {
        // A right on a function applies in its own database.
        SuperuserReason::Grant(_) => server.session.psql_in(&server.session.database, &[statement]),
        _ => server.session.psql(&statement),
    };
    Finding::warning(
        Code::OwnRoleSuperuser,
        format!(
            "role {} can make itself a superuser: anyone who takes over pgsvid has all rights in PostgreSQL",
            named(found)
        ),
    )
    .fix(format!("{command}; pgsvid setup apply --dry-run shows what else the role has"))
    .command(command)
}
