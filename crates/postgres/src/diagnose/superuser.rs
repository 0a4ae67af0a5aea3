//! Whether `pg_hba.conf` lets a user of the machine log in over the Unix socket as a superuser (PostgreSQL: `hba.c`,
//! `auth.c`).
//!
//! pgsvid cannot evaluate lists in files, groups and regular expressions in `pg_hba.conf`: such a line counts where it would
//! let in, and not where it would keep out.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{AccessFacts, JudgedMapping, place};
use super::naming::MOST_NAMED;
use super::order::MOST_RULES;
use super::{failure, warning};
use crate::sql::{HbaRule, Mapping, Superuser, SuperuserReason, system_user, word};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::{argument, shown};

/// A user of the machine who connects to the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketUser {
    /// The user ID.
    pub uid: u32,
    /// The user's name, which `peer` compares; `None` if it is not known here.
    pub name: Option<String>,
    /// The role that this user logs in as to reload, and its database: no remedy may lock it out.
    pub login: Option<(String, String)>,
    /// For each regular expression of `pg_ident.conf` that was tried on the name: the text for `\1`, if it matches.
    pub expressions: BTreeMap<String, Option<String>>,
}

/// How a line lets the user log in as a superuser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginBy<'a> {
    /// Without any check.
    Trust,
    /// The user's name is the role's.
    SameName,
    /// By this line of `pg_ident.conf`.
    Mapped(&'a Mapping),
}

/// The lines that let the user log in as one of `superusers`, and whether pgsvid could judge all lines.
#[must_use]
pub fn superuser_logins(
    facts: &AccessFacts,
    user: &SocketUser,
    superusers: &[Superuser],
) -> (Vec<Finding>, bool) {
    let mut judged = facts.is_certain();
    let mut concerns = Vec::new();
    let mut maps = Maps::of(facts);
    // For each role, the databases for which an earlier line has decided.
    let mut decided: Vec<(&Superuser, BTreeSet<&str>)> =
        superusers.iter().map(|superuser| (superuser, BTreeSet::new())).collect();
    // The roles whose remedy covers all later lines.
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    for (number, line) in facts.rules.iter().filter(|line| line.kind == "local").enumerate() {
        if number == MOST_RULES {
            judged = false;
            break;
        }
        let mut admitted: Vec<(&Superuser, LoginBy<'_>)> = Vec::new();
        for (superuser, decided) in &mut decided {
            let role = superuser.role.as_str();
            let is_about = line.is_about(role);
            if is_about == Some(false) || !is_reached(line, decided) {
                continue;
            }
            match login_by(&mut maps, line, user, role) {
                Ok(Some(by)) => admitted.push((superuser, by)),
                Ok(None) => {}
                Err(Unknown) => judged = false,
            }
            if line.decides_about(role) {
                decided.extend(line.decided_databases());
            }
        }
        let by_name = |(role, by): &(&Superuser, LoginBy<'_>)| {
            matches!(by, LoginBy::SameName) && covered.contains(role.role.as_str())
        };
        if !admitted.iter().all(by_name) {
            concerns.extend(concern(facts, line, user, &admitted));
        }
        let by_name = admitted.iter().filter(|(_, by)| matches!(by, LoginBy::SameName));
        covered.extend(by_name.map(|(superuser, _)| superuser.role.as_str()));
    }
    (concerns, judged)
}

/// Whether the line matches a database about which no earlier line has decided. `all` does not match replication connections;
/// only `replication` does.
pub(super) fn is_reached(line: &HbaRule, decided: &BTreeSet<&str>) -> bool {
    line.databases.iter().any(|word| is_open(word, decided))
}

/// The same for one word of its databases.
pub(super) fn is_open(word: &str, decided: &BTreeSet<&str>) -> bool {
    !decided.contains(word) && (word == "replication" || !decided.contains("all"))
}

/// Means that pgsvid cannot evaluate the line.
#[derive(Debug, Clone, Copy)]
struct Unknown;

/// How the line lets the user log in as that role, if it does.
fn login_by<'a>(
    maps: &mut Maps<'a>,
    line: &'a HbaRule,
    user: &SocketUser,
    role: &'a str,
) -> Result<Option<LoginBy<'a>>, Unknown> {
    match (line.method.as_str(), line.map()) {
        ("trust", _) => Ok(Some(LoginBy::Trust)),
        ("peer", None) => {
            let name = user.name.as_ref().ok_or(Unknown)?;
            Ok((name == role).then_some(LoginBy::SameName))
        }
        ("peer", Some(map)) => maps.ask(map, user, role),
        // Other methods need a password, or do not let this user in.
        _ => Ok(None),
    }
}

/// The mappings by map, each evaluated once for a role: there may be many lines of both kinds.
struct Maps<'a> {
    /// `None` if they cannot be read.
    mappings: Option<BTreeMap<&'a str, Vec<&'a Mapping>>>,
    answers: BTreeMap<(&'a str, &'a str), Result<Option<LoginBy<'a>>, Unknown>>,
}

impl<'a> Maps<'a> {
    fn of(facts: &'a AccessFacts) -> Self {
        let mappings = facts.mappings.as_ref().map(|judged| {
            let mut maps: BTreeMap<&str, Vec<&Mapping>> = BTreeMap::new();
            for JudgedMapping { mapping, .. } in judged {
                maps.entry(&mapping.map).or_default().push(mapping);
            }
            maps
        });
        Self { mappings, answers: BTreeMap::new() }
    }

    fn ask(
        &mut self,
        map: &'a str,
        user: &SocketUser,
        role: &'a str,
    ) -> Result<Option<LoginBy<'a>>, Unknown> {
        let Self { mappings, answers } = self;
        *answers.entry((map, role)).or_insert_with(|| {
            let name = user.name.as_ref().ok_or(Unknown)?;
            let mut judged = true;
            for mapping in mappings.as_ref().ok_or(Unknown)?.get(map).into_iter().flatten() {
                match admits(mapping, name, user, role) {
                    Ok(true) => return Ok(Some(LoginBy::Mapped(mapping))),
                    Ok(false) => {}
                    Err(Unknown) => judged = false,
                }
            }
            if judged { Ok(None) } else { Err(Unknown) }
        })
    }
}

/// Whether a mapping lets the user log in as the role.
fn admits(mapping: &Mapping, name: &str, user: &SocketUser, role: &str) -> Result<bool, Unknown> {
    let first = if mapping.system_user.starts_with('/') {
        match user.expressions.get(&mapping.system_user).ok_or(Unknown)? {
            Some(first) => first,
            None => return Ok(false),
        }
    } else if mapping.system_user == name {
        ""
    } else {
        return Ok(false);
    };
    match mapping.role.as_str() {
        // PostgreSQL 16 and later: the role may be `all`, a group, or an expression.
        "all" => Ok(true),
        word if word.starts_with(['+', '/']) => Err(Unknown),
        word if mapping.system_user.starts_with('/') => Ok(word.replacen("\\1", first, 1) == role),
        word => Ok(word == role),
    }
}

fn concern(
    facts: &AccessFacts,
    line: &HbaRule,
    user: &SocketUser,
    admitted: &[(&Superuser, LoginBy<'_>)],
) -> Option<Finding> {
    let (first, by) = *admitted.first()?;
    let here = place(&facts.hba, line);
    let named: Vec<String> =
        admitted.iter().take(MOST_NAMED).map(|(role, _)| named(role)).collect();
    let more = admitted.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let name = user.name.as_ref().map_or_else(|| format!("uid {}", user.uid), |name| shown(name));
    let named = named.join(", ");
    let text = match by {
        LoginBy::Trust => format!(
            "{here} says trust: over the socket every user of this machine logs in without any proof as superuser {named}{more}, and so \
             has all rights in PostgreSQL"
        ),
        LoginBy::SameName | LoginBy::Mapped(_) => format!(
            "{here} lets pgsvid's user, {name}, log in over the socket as superuser {named}{more}: anyone who takes over pgsvid \
             has all rights in PostgreSQL"
        ),
    };
    let role = word(&first.role);
    let fix = match by {
        LoginBy::Trust => format!(
            "{}write peer instead of trust in {here}, then reload",
            kept(facts, user, &here)
        ),
        LoginBy::SameName => format!(
            "to let only root log in as this superuser, as with sudo psql -U {}: first {}. Then put `local all,replication {role} \
             peer map=superuser` above {here}, and reload. After that the user {name} cannot log in as {role} over the socket: run \
             as root what pgsvid prints with sudo -u {name}, and `pgsvid check --user {role}`. `pgsvid setup` becomes {name}, and \
             says which line lets it in for that time",
            argument(&first.role),
            facts.ident.add(&[&format!("superuser root {role}")])
        ),
        LoginBy::Mapped(mapping) => format!(
            "let {} name another user than {name}, such as root, {}",
            facts.ident.source(mapping),
            facts.ident.then(mapping)
        ),
    };
    // A line for a group may not be about the superuser at all.
    let is_sure = admitted.iter().any(|(role, _)| line.is_about(&role.role) == Some(true));
    Some(match by {
        LoginBy::Trust if is_sure => failure(Code::SuperuserOverSocket, text, fix),
        _ => warning(Code::SuperuserOverSocket, text, fix),
    })
}

/// The advice to add a line that still lets the user log in as its own role, once another line checks the user's name.
fn kept(facts: &AccessFacts, user: &SocketUser, here: &str) -> String {
    let Some((role, database)) = &user.login else { return String::new() };
    let name = user.name.as_deref().unwrap_or("<os-user>");
    if name == role {
        return String::new();
    }
    let (role, database, name) = (word(role), word(database), system_user(name));
    format!(
        "so that pgsvid itself is not locked out, {}, and put `local {database} {role} peer map=pgsvid` above {here}; then ",
        facts.ident.add(&[&format!("pgsvid {name} {role}")])
    )
}

/// The role, with the reason why it counts as a superuser if it is not one.
#[must_use]
pub fn named(superuser: &Superuser) -> String {
    let role = shown(&superuser.role);
    match &superuser.by {
        SuperuserReason::Attribute => role,
        SuperuserReason::Membership(of) => {
            format!("{role} (by its membership in {})", shown(&of.role))
        }
        SuperuserReason::CreateRole => format!("{role} (by CREATEROLE)"),
        SuperuserReason::Replication => {
            format!("{role} (by REPLICATION, with wal_level = logical)")
        }
        SuperuserReason::Grant(grant) => format!("{role} (by {})", shown(&grant.what)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;

    fn found(hba: &str, ident: &str, name: Option<&str>) -> (usize, bool) {
        let facts = parsed(hba, ident);
        let user = SocketUser {
            uid: 7,
            name: name.map(str::to_owned),
            login: None,
            expressions: BTreeMap::from([
                ("/^(.*)$".to_owned(), Some("svc".to_owned())),
                ("/^x".to_owned(), None),
            ]),
        };
        let superusers = ["postgres", "svc"]
            .map(|role| Superuser { role: role.to_owned(), by: SuperuserReason::Attribute });
        let (concerns, judged) = superuser_logins(&facts, &user, &superusers);
        (concerns.len(), judged)
    }

    #[test]
    fn lines_that_let_a_user_be_a_superuser_are_found() {
        for (hba, ident, name, count, judged) in [
            ("local all all trust", "", Some("x"), 1, true),
            ("local all all trust", "", None, 1, true),
            ("host all all all trust", "", Some("svc"), 0, true),
            ("local all all peer", "", Some("x"), 0, true),
            ("local all all peer", "", Some("svc"), 1, true),
            ("local all all peer", "", None, 0, false),
            ("local all all scram-sha-256", "", Some("svc"), 0, true),
            // The first line that matches decides, for these databases and roles.
            ("local all all reject\nlocal all all trust", "", Some("svc"), 0, true),
            ("local all svc reject\nlocal all all peer", "", Some("svc"), 0, true),
            ("local app svc reject\nlocal all all peer", "", Some("svc"), 1, true),
            ("local all svc reject\nlocal replication all peer", "", Some("svc"), 1, true),
            // The remedy for the first line comes above both.
            ("local all svc peer\nlocal replication all peer", "", Some("svc"), 1, true),
            ("local all svc peer\nlocal replication all trust", "", Some("svc"), 2, true),
            (
                "local all,replication svc reject\nlocal replication all peer",
                "",
                Some("svc"),
                0,
                true,
            ),
            ("local all +admins reject\nlocal all all peer", "", Some("svc"), 1, true),
            ("local all +admins peer", "", Some("svc"), 1, true),
            ("local app app trust\nlocal all all reject", "", Some("svc"), 0, true),
            ("local app all trust\nlocal all all trust", "", Some("svc"), 2, true),
            ("local all all peer map=m", "m svc postgres", Some("svc"), 1, true),
            ("local all all peer map=m", "m root postgres", Some("svc"), 0, true),
            ("local all all peer map=m", "other svc postgres", Some("svc"), 0, true),
            ("local all all peer map=m", "m svc all", Some("svc"), 1, true),
            ("local all all peer map=m", "m svc +dba", Some("svc"), 0, false),
            ("local all all peer map=m", "m root +dba", Some("svc"), 0, true),
            ("local all all peer map=m", "m svc /^post", Some("svc"), 0, false),
            ("local all all peer map=\"\"", "", Some("svc"), 1, true),
            ("local all all ident", "", Some("svc"), 1, true),
            ("local all \"/^s\" trust", "", Some("svc"), 1, true),
            ("local all \"+dba\" trust", "", Some("svc"), 0, true),
            ("local all \"all\" reject\nlocal all all peer", "", Some("svc"), 1, true),
            ("local all all peer map=m", r"m /^(.*)$ \1", Some("svc"), 1, true),
            ("local all postgres peer map=m", r"m /^(.*)$ \1", Some("svc"), 0, true),
            ("local all all peer map=m", "m /^x postgres", Some("svc"), 0, true),
            ("local all all peer map=m", "m /^y postgres", Some("svc"), 0, false),
        ] {
            assert_eq!(found(hba, ident, name), (count, judged), "{hba} | {ident} | {name:?}");
        }
    }
}
