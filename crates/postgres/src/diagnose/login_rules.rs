//! Which line of `pg_hba.conf` decides about a login.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::access::AccessFacts;
use crate::sql::{Address, HbaRule, Psql, stored_name};
use pgsvid_material::Certificate;

/// A login attempt.
#[derive(Debug, Clone)]
pub struct RefusedLogin<'a> {
    /// The requested role.
    pub role: &'a str,
    /// The requested database.
    pub database: &'a str,
    /// The client's address, as the server sees it.
    pub from: IpAddr,
    /// The certificate that was shown.
    pub leaf: &'a Certificate,
    /// Whether it is for replication, which uses no database.
    pub replication: bool,
    /// The groups of `pg_hba.conf` that the role is a member of; `None` if that is not known.
    pub groups: Option<&'a BTreeSet<String>>,
    /// The server's address, as it was dialled.
    pub to: Option<IpAddr>,
    /// PostgreSQL's message.
    pub message: &'a str,
    /// How a superuser reaches the server.
    pub psql: &'a Psql,
}

/// The line that decides; otherwise the first one for which that is unknown.
pub(super) fn deciding<'a>(
    access: &'a AccessFacts,
    login: &RefusedLogin<'_>,
) -> (Option<&'a HbaRule>, Option<&'a HbaRule>) {
    let message = Message::of(login.message);
    let mut perhaps = Vec::new();
    for rule in &access.rules {
        match matches(rule, login) {
            // PostgreSQL has read another version of the file if its message does not fit a line that matches.
            Some(true) if perhaps.is_empty() => return (Some(rule), None),
            Some(true) => {
                perhaps.extend(Some(rule).filter(|rule| message.suits(rule)));
                break;
            }
            None if message.suits(rule) => perhaps.push(rule),
            Some(false) | None => {}
        }
    }
    match perhaps[..] {
        [] => (None, None),
        // The message is about this line only.
        [rule] if message != Message::Other => (Some(rule), None),
        [rule, ..] => (None, Some(rule)),
    }
}

/// What PostgreSQL's message says. It is in English unless `lc_messages` says otherwise; then nothing is read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// No line matched.
    NoLine,
    /// A line with the method `reject` matched.
    Rejected,
    /// A line matched whose authentication failed.
    Failed,
    Other,
}

impl Message {
    fn of(words: &str) -> Self {
        if words.starts_with("no pg_hba.conf entry") {
            Self::NoLine
        } else if words.starts_with("pg_hba.conf rejects") {
            Self::Rejected
        } else if words.contains("authentication failed") {
            Self::Failed
        } else {
            Self::Other
        }
    }

    /// Whether the message fits a line.
    fn suits(self, rule: &HbaRule) -> bool {
        match self {
            Self::NoLine => false,
            Self::Rejected => rule.method == "reject",
            Self::Failed => rule.method != "reject",
            Self::Other => true,
        }
    }
}

/// Whether the line matches such a login; `None` if pgsvid cannot tell.
fn matches(rule: &HbaRule, login: &RefusedLogin<'_>) -> Option<bool> {
    if !rule.matches_tls() {
        return Some(false);
    }
    let parts = [for_database(rule, login), about_role(rule, login), matches_address(rule, login)];
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    (!parts.contains(&None)).then_some(true)
}

fn for_database(rule: &HbaRule, login: &RefusedLogin<'_>) -> Option<bool> {
    if login.replication {
        return Some(rule.databases.iter().any(|word| word == "replication"));
    }
    let is_role = |word: &String| matches!(word.as_str(), "samerole" | "samegroup");
    match (rule.is_for(login.database, stored_name(login.role)), login.groups) {
        // Group names are the only words that pgsvid cannot judge alone, and here the groups are known.
        (None, Some(groups)) if !rule.databases.iter().any(|word| word.starts_with(['/', '@'])) => {
            let database = login.database;
            Some(
                rule.databases.iter().any(is_role)
                    && (groups.contains(database) || stored_name(login.role) == database),
            )
        }
        (answer, _) => answer,
    }
}

fn about_role(rule: &HbaRule, login: &RefusedLogin<'_>) -> Option<bool> {
    let answer = rule.is_about(stored_name(login.role));
    let Some(groups) = login.groups.filter(|_| answer.is_none()) else { return answer };
    if rule.groups().any(|group| groups.contains(group)) {
        return Some(true);
    }
    (!rule.users.iter().any(|word| word.starts_with(['/', '@']))).then_some(false)
}

fn matches_address(rule: &HbaRule, login: &RefusedLogin<'_>) -> Option<bool> {
    let Some(address) = &rule.address else { return Some(false) };
    match (address.holds(login.from), address) {
        // The client is on the server's machine.
        (None, Address::SameHost | Address::SameNet) if login.to == Some(login.from) => Some(true),
        (answer, _) => answer,
    }
}
