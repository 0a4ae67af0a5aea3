//! The rights of pgsvid's role that setup would not have granted.

use super::Settings;
use crate::sql::{MOST_RELATED, Membership, Related, SESSION_GROUPS, statements};
use crate::text::{argument, shown};

/// A note for each such right, with the command that revokes it: somebody else may have created the role to gain setup's
/// grants.
pub(super) fn notes(settings: &Settings, related: &Related) -> Vec<String> {
    let session = &settings.server.session;
    let role = &session.user;
    let name = statements::identifier(role);
    let Related { attributes, password, member_of, members } = related;
    // Memberships that the role needs to end sessions are intended.
    let ends = settings.server.sessions.end_after.is_some();
    let is_foreign = |one: &&Membership| !(ends && SESSION_GROUPS.contains(&one.role.as_str()));
    let member_of: Vec<Membership> = member_of.iter().filter(is_foreign).cloned().collect();
    let mut notes = Vec::new();
    let mut note = |what: String, statement: String| {
        notes.push(format!(
            "role {role} exists already, and {what}; if that is not intended: psql -U {} -c {}{}",
            argument(&settings.superuser),
            argument(statement),
            session.psql_options(),
        ));
    };
    let listed = |memberships: &[Membership]| -> String {
        let mut shown: Vec<String> = memberships.iter().map(|one| shown(&one.role)).collect();
        shown.dedup();
        let more = if memberships.len() == MOST_RELATED { ", and perhaps more" } else { "" };
        format!("{}{more}", shown.join(", "))
    };
    if !attributes.is_empty() {
        let less: Vec<String> = attributes.iter().map(|has| format!("NO{has}")).collect();
        note(
            format!("has {}, which pgsvid does not need", attributes.join(", ")),
            format!("ALTER ROLE {name} {}", less.join(" ")),
        );
    }
    if *password && session.password_file.is_none() {
        note(
            "has a password, with which others may log in as it".to_owned(),
            format!("ALTER ROLE {name} PASSWORD NULL"),
        );
    }
    if !member_of.is_empty() {
        let revoke = |one: &Membership| {
            statements::revoke_membership(&one.role, role, one.granted_by.as_deref())
        };
        let statements: Vec<String> = member_of.iter().map(revoke).collect();
        note(format!("is a member of {}", listed(&member_of)), statements.join("; "));
    }
    if !members.is_empty() {
        let revoke = |one: &Membership| {
            statements::revoke_membership(role, &one.role, one.granted_by.as_deref())
        };
        let statements: Vec<String> = members.iter().map(revoke).collect();
        note(
            format!("has the members {}, who get all of its grants", listed(members)),
            statements.join("; "),
        );
    }
    notes
}
